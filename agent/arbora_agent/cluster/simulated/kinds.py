"""Which kinds a simulated API server serves and whether their objects live in a namespace. Pure.

A CustomResourceDefinition adds its kind with `custom_kinds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arbora.manifests.objects import Gvk


@dataclass(frozen=True, slots=True)
class ServedKind:
    """How a kind is served."""

    plural: str
    namespaced: bool


CRD = Gvk("apiextensions.k8s.io/v1", "CustomResourceDefinition")
NAMESPACE = Gvk("v1", "Namespace")
SERVICE_ACCOUNT = Gvk("v1", "ServiceAccount")

_NAMESPACED = {
    "v1": "Pod Service ConfigMap Secret ServiceAccount PersistentVolumeClaim LimitRange ResourceQuota "
    "ReplicationController Endpoints",
    "apps/v1": "Deployment StatefulSet DaemonSet ReplicaSet",
    "batch/v1": "Job CronJob",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "networking.k8s.io/v1": "Ingress NetworkPolicy",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding",
    "coordination.k8s.io/v1": "Lease",
}
_CLUSTER_SCOPED = {
    "v1": "Namespace PersistentVolume",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding",
    "storage.k8s.io/v1": "StorageClass",
    "scheduling.k8s.io/v1": "PriorityClass",
    "node.k8s.io/v1": "RuntimeClass",
    "networking.k8s.io/v1": "IngressClass",
}


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    if name.endswith("endpoints"):
        return name
    return f"{name}es" if name.endswith("s") else f"{name}s"


BUILT_IN: Mapping[Gvk, ServedKind] = {
    Gvk(version, kind): ServedKind(_plural(kind), namespaced)
    for table, namespaced in ((_NAMESPACED, True), (_CLUSTER_SCOPED, False))
    for version, names in table.items()
    for kind in names.split()
}
"""The kinds of a cluster without any CustomResourceDefinition."""


def custom_kinds(crd: Mapping[str, Any]) -> Iterator[tuple[Gvk, ServedKind]]:
    """The kinds that a CustomResourceDefinition serves; nothing if it is incomplete."""
    spec = crd.get("spec", {})
    names = spec.get("names", {})
    if not (spec.get("group") and names.get("kind") and names.get("plural")):
        return
    for version in spec.get("versions", []):
        if version.get("served", True) and version.get("name"):
            gvk = Gvk(f"{spec['group']}/{version['name']}", names["kind"])
            yield gvk, ServedKind(names["plural"], spec.get("scope", "Namespaced") == "Namespaced")
