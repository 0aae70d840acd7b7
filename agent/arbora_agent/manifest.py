"""Renders what installs the agent in a cluster: namespace, account, least rights, settings, Deployment.

For: `arbora agent manifest ... | kubectl apply -f -`. No I/O. Values are checked here and only ever become
strings inside objects, never text that is parsed again: an environment value comes from a ConfigMap, since
Kubernetes expands `$(NAME)` in literal ones. The rights are exactly what `cluster/kubernetes` uses; its
contract tests run with them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.version import __version__

Object = dict[str, Any]
Rule = dict[str, list[str]]

NAME = "arbora-agent"
IDENTITY_SECRET = "arbora-agent-identity"
JOIN_SECRET = "arbora-agent-join"
NODE_CONFIG = "arbora-node-agents"
NODE_CA_KEY = "ca.crt"
"""ConfigMap and key of the certificate by which node agents know the cluster's agent."""
APPLIED_KINDS = "arbora-applied-kinds"
"""The ConfigMap of `cluster/kubernetes/kinds.py`, which is not imported for the memory it takes."""
DEFAULT_NAMESPACE = "arbora-system"

APPLY_VERBS = ("get", "list", "watch", "create", "patch", "delete")
"""What server-side apply, its watch and the pruning need; `update` is not among them."""
WATCH_VERBS = ("get", "list", "watch")
WORKLOAD_KINDS: dict[str, tuple[str, ...]] = {
    "": ("configmaps", "namespaces", "persistentvolumeclaims", "pods", "serviceaccounts", "services"),
    "apps": ("daemonsets", "deployments", "statefulsets"),
    "batch": ("cronjobs", "jobs"),
}
"""The kinds that a workload may hold unless more are granted, by API group."""

_USER = 65532
_HUB = re.compile(r"(?:[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,512}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_GROUP = re.compile(r"core|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ManifestSettings:
    """What an installation is made of."""

    hub: str
    """The hub's join address, HOST:PORT."""
    join_token: str = field(repr=False)
    image: str = f"arbora-agent:{__version__}"
    name: str = ""
    """The member's name; empty for the one in the join token."""
    allow_tokens: tuple[str, ...] = ()
    """`namespace/serviceaccount` whose tokens the agent may mint; nobody else's."""
    grants: tuple[str, ...] = ()
    """`group/resource` that workloads may hold beyond WORKLOAD_KINDS; the core group is `core`."""
    namespace: str = DEFAULT_NAMESPACE


def render(settings: ManifestSettings) -> list[Object]:
    """The objects in the order in which they can be applied. Raises InvalidInput naming the setting."""
    _check(settings)
    accounts = _accounts(settings.allow_tokens)
    config = {
        "hub": settings.hub,
        "name": settings.name,
        "allow-tokens": " ".join(f"{namespace}/{name}" for namespace in accounts for name in accounts[namespace]),
    }
    own = settings.namespace
    encoded = base64.b64encode(settings.join_token.encode()).decode()
    objects = [
        _namespace(own),
        _object("v1", "ServiceAccount", NAME, own),
        _cluster_role(settings.grants),
        _binding("ClusterRoleBinding", "ClusterRole", NAME, "", own),
        _object("rbac.authorization.k8s.io/v1", "Role", NAME, own, rules=own_rules()),
        _binding("RoleBinding", "Role", NAME, own, own),
        _object("v1", "Secret", JOIN_SECRET, own, type="Opaque", data={"token": encoded}),
        _object("v1", "ConfigMap", NAME, own, data=config),
        _deployment(settings, config),
    ]
    for namespace, names in accounts.items():
        role = f"{NAME}-tokens"
        rules = [_rule("", ("serviceaccounts/token",), ("create",), names)]
        objects.append(_object("rbac.authorization.k8s.io/v1", "Role", role, namespace, rules=rules))
        objects.append(_binding("RoleBinding", "Role", role, namespace, own))
    return objects


def workload_rules(grants: Iterable[str] = ()) -> list[Rule]:
    """The cluster-wide rules: what is watched for capacity, and what workloads may hold."""
    kinds = {group: set(resources) for group, resources in WORKLOAD_KINDS.items()}
    for grant in grants:
        group, resource = _grant(grant)
        kinds.setdefault(group, set()).add(resource)
    rules = [_rule("", ("nodes",), WATCH_VERBS)]
    return rules + [_rule(group, sorted(kinds[group]), APPLY_VERBS) for group in sorted(kinds)]


def own_rules() -> list[Rule]:
    """The rules in the agent's own namespace: its identity and its record of applied kinds, both by name.

    A right to create can't be bound to a name, as RBAC sees none yet.
    """
    return [
        _rule("", ("secrets",), ("get", "update", "patch"), (IDENTITY_SECRET,)),
        _rule("", ("secrets",), ("create",)),
        _rule("", ("configmaps",), ("get", "patch"), (APPLIED_KINDS,)),
        _rule("", ("configmaps",), ("create",)),
    ]


def _check(settings: ManifestSettings) -> None:
    _match(_HUB, settings.hub, "hub", "Give the hub's join address, such as hub.example.org:7444.")
    _match(_TOKEN, settings.join_token, "join_token", "Make one with `arbora join-token create`.", secret=True)
    _match(_IMAGE, settings.image, "image", "Give an image reference, such as arbora-agent:1.0.")
    check_name(settings.namespace, "namespace")
    if settings.name:
        check_name(settings.name, "name")


def _match(form: re.Pattern[str], text: str, field_name: str, hint: str, *, secret: bool = False) -> None:
    if not form.fullmatch(text):
        shown = "the value" if secret else repr(text[:80])
        raise InvalidInput(f"{shown} can't be used", field=field_name, hint=hint)


def _accounts(allow_tokens: Iterable[str]) -> dict[str, list[str]]:
    """Allowed service accounts by namespace, sorted."""
    found: dict[str, set[str]] = {}
    for entry in allow_tokens:
        namespace, _, account = entry.partition("/")
        if not _ACCOUNT.fullmatch(account):
            raise InvalidInput(f"{entry!r} is not namespace/serviceaccount", field="allow_tokens")
        found.setdefault(check_name(namespace, "allow_tokens"), set()).add(account)
    return {namespace: sorted(found[namespace]) for namespace in sorted(found)}


def _grant(text: str) -> tuple[str, str]:
    group, _, resource = text.partition("/")
    if not _GROUP.fullmatch(group) or not _RESOURCE.fullmatch(resource):
        raise InvalidInput(
            f"{text!r} is not group/resource",
            field="grants",
            hint="Name one resource, such as core/secrets or kueue.x-k8s.io/localqueues. There are no wildcards.",
        )
    return ("" if group == "core" else group), resource


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()) -> Rule:
    rule = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def _object(api_version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Object:
    metadata: Object = {"name": name, "labels": {"app.kubernetes.io/name": NAME}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _namespace(name: str) -> Object:
    namespace = _object("v1", "Namespace", name)
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"
    return namespace


def _cluster_role(grants: Iterable[str]) -> Object:
    return _object("rbac.authorization.k8s.io/v1", "ClusterRole", NAME, rules=workload_rules(grants))


def _binding(kind: str, role_kind: str, role: str, namespace: str, own: str) -> Object:
    return _object(
        "rbac.authorization.k8s.io/v1",
        kind,
        role,
        namespace,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": own}],
    )


def _deployment(settings: ManifestSettings, config: dict[str, str]) -> Object:
    selector = {"app.kubernetes.io/name": NAME}
    # A pod reads its environment once: another configuration has to be another pod.
    written = json.dumps([config, settings.join_token], sort_keys=True).encode()
    annotations = {"arbora.dev/configuration": hashlib.sha256(written).hexdigest()[:16]}
    pod = {
        "serviceAccountName": NAME,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings.image)],
        "volumes": [
            {"name": "state", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "join", "secret": {"secretName": JOIN_SECRET, "defaultMode": 0o440}},
        ],
    }
    spec = {
        "replicas": 1,
        # Two agents would take the session from each other.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": selector, "annotations": annotations}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", NAME, settings.namespace, spec=spec)


def _container(image: str) -> Object:
    keys = {"ARBORA_HUB": "hub", "ARBORA_NAME": "name", "ARBORA_ALLOW_TOKENS": "allow-tokens"}
    return {
        "name": "agent",
        "image": image,
        "command": ["arbora"],
        "args": [
            "agent",
            "run",
            "--data-dir=/var/lib/arbora",
            "--identity-secret",
            "--join-token-file=/etc/arbora/join/token",
        ],
        "env": [
            {"name": variable, "valueFrom": {"configMapKeyRef": {"name": NAME, "key": key}}}
            for variable, key in keys.items()
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": "/var/lib/arbora"},
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "join", "mountPath": "/etc/arbora/join", "readOnly": True},
        ],
    }
