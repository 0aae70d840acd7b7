"""The agent of a cluster: namespace, account, least rights, settings, Deployment.

An environment value comes from a ConfigMap, since Kubernetes expands `$(NAME)` in literal ones.
"""

from __future__ import annotations

import base64

from arbora_agent.manifest.grants import grants
from arbora_agent.manifest.names import JOIN_SECRET, METRICS_PORT, NAME
from arbora_agent.manifest.node_agents import node_agents
from arbora_agent.manifest.objects import (
    RBAC,
    Object,
    binding,
    configured,
    labels,
    make,
    pod_security,
    ports,
    restricted,
    scraped,
)
from arbora_agent.manifest.rights import cluster_rules, own_rules, rule
from arbora_agent.manifest.settings import ManifestSettings, accounts, check, roles
from arbora_agent.node_agent.settings import NODE_PORT


def render(settings: ManifestSettings) -> list[Object]:
    """The objects in the order in which they can be applied. Raises InvalidInput naming the setting."""
    check(settings)
    allowed = accounts(settings.allow_tokens)
    config = {
        "hub": settings.hub,
        "name": settings.name,
        "allow-tokens": " ".join(f"{namespace}/{name}" for namespace in allowed for name in allowed[namespace]),
        "node-address": f":{NODE_PORT}" if settings.node_agents else "",
        "mark-nodes": " ".join(sorted(set(settings.mark_nodes))),
        **_allowed(settings),
    }
    own = settings.namespace
    encoded = base64.b64encode(settings.join_token.encode()).decode()
    objects = [
        _namespace(settings),
        make("v1", "ServiceAccount", NAME, own),
        make(RBAC, "ClusterRole", NAME, rules=cluster_rules(settings)),
        binding("ClusterRoleBinding", "ClusterRole", NAME, "", own),
        make(RBAC, "Role", NAME, own, rules=own_rules(settings)),
        binding("RoleBinding", "Role", NAME, own, own),
        make("v1", "Secret", JOIN_SECRET, own, type="Opaque", data={"token": encoded}),
        make("v1", "ConfigMap", NAME, own, data=config),
        _deployment(settings, config),
    ]
    for namespace, names in allowed.items():
        role = f"{NAME}-tokens"
        rules = [rule("", ("serviceaccounts/token",), ("create",), () if names == ["*"] else names)]
        objects.append(make(RBAC, "Role", role, namespace, rules=rules))
        objects.append(binding("RoleBinding", "Role", role, namespace, own))
    objects += grants(settings)
    if settings.node_agents:
        objects += node_agents(settings)
    return objects


def _allowed(settings: ManifestSettings) -> dict[str, str]:
    """What may be granted; nothing where nothing may, so that such an installation stays as it was."""
    named = roles(settings.allow_roles)
    allowed = {
        "allow-roles": " ".join(f"{namespace}/{name}" for namespace in named for name in named[namespace]),
        "allow-cluster-roles": " ".join(sorted(set(settings.allow_cluster_roles))),
        "allow-rules-of": settings.allow_rules_of,
    }
    return {key: value for key, value in allowed.items() if value}


def _namespace(settings: ManifestSettings) -> Object:
    namespace = make("v1", "Namespace", settings.namespace)
    # CAP_SYSLOG, and a directory of the host, are more than both other levels allow.
    level = "privileged" if settings.root else "restricted"
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = level
    return namespace


def _deployment(settings: ManifestSettings, config: dict[str, str]) -> Object:
    pod = {
        "serviceAccountName": NAME,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": pod_security(),
        "containers": [_container(settings, config)],
        "volumes": [
            {"name": "state", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "join", "secret": {"secretName": JOIN_SECRET, "defaultMode": 0o440}},
        ],
    }
    annotations = {**configured(config, settings.join_token), **scraped(settings.metrics)}
    spec = {
        "replicas": 1,
        # Two agents would take the session from each other.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels(NAME)},
        "template": {"metadata": {"labels": labels(NAME), "annotations": annotations}, "spec": pod},
    }
    return make("apps/v1", "Deployment", NAME, settings.namespace, spec=spec)


def _container(settings: ManifestSettings, config: dict[str, str]) -> Object:
    return {
        "name": "agent",
        "image": settings.image,
        "command": ["arbora"],
        "args": [
            "agent",
            "run",
            "--data-dir=/var/lib/arbora",
            "--identity-secret",
            "--join-token-file=/etc/arbora/join/token",
            *([f"--metrics-address=:{METRICS_PORT}"] if settings.metrics else []),
        ],
        "env": [
            {
                "name": f"ARBORA_{key.replace('-', '_').upper()}",
                "valueFrom": {"configMapKeyRef": {"name": NAME, "key": key}},
            }
            for key in config
        ],
        **ports(
            **({"nodes": NODE_PORT} if settings.node_agents else {}),
            **({"metrics": METRICS_PORT} if settings.metrics else {}),
        ),
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": restricted(),
        "volumeMounts": [
            {"name": "state", "mountPath": "/var/lib/arbora"},
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "join", "mountPath": "/etc/arbora/join", "readOnly": True},
        ],
    }
