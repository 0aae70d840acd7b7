"""The agents of nodes with GPUs: an account without rights, a DaemonSet, and the way to the cluster's agent.

A node agent sees the devices through the container runtime and knows the API server only as the issuer of its
token, which is good for nothing but the cluster's agent. Nothing can dial it.
"""

from __future__ import annotations

from typing import Any

from arbora_agent.manifest.names import (
    METRICS_PORT,
    NAME,
    NODE_AGENT,
    NODE_AUDIENCE,
    NODE_CA_KEY,
    NODE_CONFIG,
    NODE_SWITCH,
)
from arbora_agent.manifest.objects import (
    USER,
    Object,
    configured,
    labels,
    make,
    pod_security,
    ports,
    restricted,
    scraped,
)
from arbora_agent.manifest.settings import ManifestSettings
from arbora_agent.node_agent.settings import MOUNTED, NODE_PORT

GPU_LABELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nvidia.com/gpu.present", ("true",)),
    ("nvidia.com/gpu.product", ()),
    ("feature.node.kubernetes.io/pci-10de.present", ("true",)),
)
"""By what a node with NVIDIA GPUs is known, and the values that say so; none: any value.

Set by the GPU operator, GPU feature discovery and node feature discovery; 10de is NVIDIA's PCI vendor id.
"""
TOKEN_SECONDS = 3600
KUBELET = "/var/lib/kubelet/pod-resources"
"""Where the kubelet listens on each node."""


def node_agents(settings: ManifestSettings) -> list[Object]:
    """The objects in the order in which they can be applied."""
    own = settings.namespace
    return [
        make("v1", "ServiceAccount", NODE_AGENT, own, app=NODE_AGENT, automountServiceAccountToken=False),
        make("v1", "Service", NAME, own, spec=_service()),
        make("networking.k8s.io/v1", "NetworkPolicy", NAME, own, spec=_into_agent(settings)),
        make(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            NODE_AGENT,
            own,
            app=NODE_AGENT,
            spec=_into_node_agents(settings),
        ),
        make("apps/v1", "DaemonSet", NODE_AGENT, own, app=NODE_AGENT, spec=_daemon_set(settings)),
    ]


def _service() -> Object:
    return {
        "selector": labels(NAME),
        "ports": [{"name": "nodes", "port": NODE_PORT, "targetPort": "nodes", "protocol": "TCP"}],
    }


def _into_agent(settings: ManifestSettings) -> Object:
    """Its own node agents, and who reads metrics."""
    nodes = {"from": [{"podSelector": {"matchLabels": labels(NODE_AGENT)}}], "ports": [_tcp(NODE_PORT)]}
    return {"podSelector": {"matchLabels": labels(NAME)}, "policyTypes": ["Ingress"], **_let_in(settings, nodes)}


def _into_node_agents(settings: ManifestSettings) -> Object:
    """Nobody but who reads metrics."""
    return {"podSelector": {"matchLabels": labels(NODE_AGENT)}, "policyTypes": ["Ingress"], **_let_in(settings)}


def _let_in(settings: ManifestSettings, *others: Object) -> Object:
    """The rules of a policy; none where there is nothing to allow, as the API server would leave it out."""
    rules = [*others, *([{"ports": [_tcp(METRICS_PORT)]}] if settings.metrics else [])]
    return {"ingress": rules} if rules else {}


def _tcp(port: int) -> Object:
    return {"port": port, "protocol": "TCP"}


def _daemon_set(settings: ManifestSettings) -> Object:
    pod: Object = {
        "serviceAccountName": NODE_AGENT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _nodes_with_gpus()}},
        # A node that takes no work still has GPUs to look at, all the more one that we tainted for them.
        "tolerations": [{"operator": "Exists"}],
        "securityContext": pod_security(0 if settings.root else USER),
        "containers": [_container(settings)],
        "volumes": [
            {"name": "cluster-agent", "projected": {"sources": _sources(), "defaultMode": 0o440}},
            *([_from_host("kubelet", KUBELET)] if settings.pod_resources else []),
        ],
    }
    if settings.runtime_class:
        pod["runtimeClassName"] = settings.runtime_class
    annotations = {**configured(settings.image), **scraped(settings.metrics)}
    return {
        "selector": {"matchLabels": labels(NODE_AGENT)},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": {
            "metadata": {
                "labels": labels(NODE_AGENT),
                "annotations": annotations,
            },
            "spec": pod,
        },
    }


def _from_host(name: str, path: str) -> Object:
    return {"name": name, "hostPath": {"path": path, "type": "Directory"}}


def _nodes_with_gpus() -> Object:
    allowed = {"key": NODE_SWITCH, "operator": "NotIn", "values": ["off"]}
    terms = [{"matchExpressions": [{"key": key, **_has(values)}, allowed]} for key, values in GPU_LABELS]
    return {"nodeSelectorTerms": terms}


def _has(values: tuple[str, ...]) -> dict[str, Any]:
    return {"operator": "In", "values": list(values)} if values else {"operator": "Exists"}


def _sources() -> list[Object]:
    token = {"path": "token", "audience": NODE_AUDIENCE, "expirationSeconds": TOKEN_SECONDS}
    items = [{"key": NODE_CA_KEY, "path": "ca.crt"}]
    # Until the cluster's agent has started there is no certificate; a node agent waits for it and says so.
    return [
        {"serviceAccountToken": token},
        {"configMap": {"name": NODE_CONFIG, "items": items, "optional": True}},
    ]


def _container(settings: ManifestSettings) -> Object:
    return {
        "name": "node-agent",
        "image": settings.image,
        "command": ["arbora"],
        "args": [
            "agent",
            "run",
            "--mode=node",
            f"--cluster-agent={NAME}.{settings.namespace}.svc:{NODE_PORT}",
            "--kernel-log" if settings.kernel_log else "--no-kernel-log",
            *([f"--pod-resources={KUBELET}/kubelet.sock"] if settings.pod_resources else []),
            *([f"--metrics-address=:{METRICS_PORT}"] if settings.metrics else []),
        ],
        **ports(**({"metrics": METRICS_PORT} if settings.metrics else {})),
        "env": [
            # What metrics call the node.
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            # How the NVIDIA container toolkit is asked for every device and for NVML alone.
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
            {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "utility"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": restricted("SYSLOG") if settings.kernel_log else restricted(),
        "volumeMounts": [
            {"name": "cluster-agent", "mountPath": str(MOUNTED), "readOnly": True},
            *([{"name": "kubelet", "mountPath": KUBELET, "readOnly": True}] if settings.pod_resources else []),
        ],
    }
