"""What to apply and what to delete for an assignment, and in which order. Pure.

For `progress.py`. Objects are applied class by class: what others stand on comes first (namespaces, definitions
of kinds, cluster-wide settings, accounts, configuration, services, then what runs, then custom and unknown kinds,
which includes webhooks that could block the rest). Objects of one class don't depend on each other and may go
together. Deletion takes the same classes backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from arbora.errors import InvalidInput
from arbora.manifests.objects import Gvk, Manifest, ObjectRef, ref_of
from arbora.workloads.model import Assignment
from arbora_agent.cluster.port import OwnedObject

_CLASSES: tuple[frozenset[tuple[str, str]], ...] = tuple(
    frozenset((group, kind) for group, kinds in each.items() for kind in kinds.split())
    for each in (
        {"": "Namespace"},
        {"apiextensions.k8s.io": "CustomResourceDefinition"},
        {
            "": "ResourceQuota LimitRange PersistentVolume",
            "scheduling.k8s.io": "PriorityClass",
            "storage.k8s.io": "StorageClass CSIDriver",
            "node.k8s.io": "RuntimeClass",
            "networking.k8s.io": "IngressClass",
            "rbac.authorization.k8s.io": "ClusterRole",
        },
        {"": "ServiceAccount"},
        {
            "": "ConfigMap Secret PersistentVolumeClaim",
            "rbac.authorization.k8s.io": "Role RoleBinding ClusterRoleBinding",
            "networking.k8s.io": "NetworkPolicy",
        },
        {"": "Service"},
        {
            "": "Pod ReplicationController",
            "apps": "Deployment StatefulSet DaemonSet ReplicaSet",
            "batch": "Job CronJob",
        },
    )
)
_LAST = len(_CLASSES)


Thing = TypeVar("Thing")


class Identity(NamedTuple):
    """What makes two references the same object in one cluster: versions of a kind don't, nor does leaving
    `default` out. A kind is namespaced or isn't, so writing `default` for none confuses nothing."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, ref: ObjectRef) -> Identity:
        """The identity that `ref` names."""
        return cls(ref.gvk.group, ref.gvk.kind, ref.namespace or "default", ref.name)


@dataclass(frozen=True, slots=True)
class Item:
    """One manifest of an assignment."""

    ref: ObjectRef
    """As written in the manifest."""
    identity: Identity
    manifest: Manifest
    refusal: str = ""
    """Why it can't be applied at all; empty if it can."""


def items_of(assignment: Assignment) -> tuple[Item, ...]:
    """The manifests of an assignment in their own order. One that has no name, and one that names the same object
    as an earlier one, is refused; the others don't suffer from it."""
    seen: dict[Identity, int] = {}
    items = []
    for index, manifest in enumerate(assignment.manifests):
        try:
            ref = ref_of(manifest, f"manifests[{index}]")
        except InvalidInput as error:
            ref = ObjectRef(Gvk("v1", "Unknown"), "", f"manifests[{index}]")
            items.append(Item(ref, Identity.of(ref), manifest, str(error)))
            continue
        identity = Identity.of(ref)
        first = seen.setdefault(identity, index)
        refusal = ""
        if first != index:
            refusal = f"manifests[{index}] names the same object as manifests[{first}]; it is ignored"
        items.append(Item(ref, identity, manifest, refusal))
    return tuple(items)


def apply_order(items: Iterable[Item]) -> tuple[tuple[Item, ...], ...]:
    """Classes of items, first to last, in the order of the manifests inside a class."""
    return tuple(tuple(each) for each in _by_class((item.ref, item) for item in items) if each)


def leaving(
    assignment: Assignment, items: Iterable[Item], owned: Sequence[OwnedObject]
) -> tuple[tuple[OwnedObject, ...], ...]:
    """The owned objects that are not among the assignment's items (withdrawn: all), in order of deletion.

    An object that was applied for a newer generation is left alone: this assignment is out of date, and what it
    doesn't name may be exactly what the newer one brought.
    """
    wanted = set() if assignment.withdrawn else {item.identity for item in items if not item.refusal}
    going = (
        (each.ref, each)
        for each in owned
        if Identity.of(each.ref) not in wanted and each.generation <= assignment.generation
    )
    return tuple(tuple(reversed(each)) for each in reversed(_by_class(going)) if each)


def _by_class(things: Iterable[tuple[ObjectRef, Thing]]) -> list[list[Thing]]:
    classes: list[list[Thing]] = [[] for _ in range(_LAST + 1)]
    for ref, thing in things:
        classes[_class_of(ref)].append(thing)
    return classes


def _class_of(ref: ObjectRef) -> int:
    kind = (ref.gvk.group, ref.gvk.kind)
    return next((number for number, kinds in enumerate(_CLASSES) if kind in kinds), _LAST)
