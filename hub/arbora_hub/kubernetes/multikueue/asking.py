"""A Kueue Workload -> whether it waits for a member now, and what it asks for. Pure.

A Workload waits for us once Kueue has reserved quota for it, every other admission check of it is Ready, ours is
Pending, and no member has it. It goes whole to one member, so its pods are one gang.

The GPU type is read from the pods' node selector and required node affinity; where they name none, from the
annotation `arbora.dev/gpu-product` of the pod template or the Workload, a list of products.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.capacity.kinds.field import Field
from arbora.capacity.kinds.form import PodGroup, Shape, WorkloadShape
from arbora.capacity.kinds.template import pod_group
from arbora_hub.placement.demand import Demand
from arbora_hub.placement.policy import Policy
from arbora_hub.workloads.demand import demand_of

GPU_PRODUCT = "arbora.dev/gpu-product"
_LABEL_OF = {"nvidia.com": "nvidia.com/gpu.product", "amd.com": "amd.com/gpu.product-name"}
_ANYWHERE = Policy()

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """A Workload as far as it concerns the choice of a member."""

    key: str
    """namespace/name."""
    uid: str
    check: str
    """Name of our AdmissionCheck that it waits for; empty: of none."""
    cluster: str
    """The member that has it; empty: none."""
    nominated: tuple[str, ...]
    waits: bool
    """Whether a nomination is ours to make."""
    why_not: str
    """If it is not, why."""
    finished: bool
    version: str
    """Its resourceVersion."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What it asks for."""

    demand: Demand
    alternatives: tuple[tuple[GpuClass, ...], ...] = ()
    """For each kind of pods that takes one of several products: the classes that do."""
    assumed: tuple[str, ...] = ()


def read_asking(item: Raw, checks: Collection[str]) -> Asking:
    """From the object. checks: names of our AdmissionChecks."""
    metadata, status = item["metadata"], item.get("status") or {}
    conditions = {each["type"]: each["status"] == "True" for each in status.get("conditions") or ()}
    states = {each["name"]: each["state"] for each in status.get("admissionChecks") or ()}
    ours = sorted(name for name in states if name in checks)
    check = ours[0] if ours else ""
    cluster = str(status.get("clusterName") or "")
    finished = conditions.get("Finished", False)
    others = sorted(name for name, state in states.items() if name != check and state != "Ready")
    if not check:
        why_not = "it has no admission check of ours"
    elif metadata.get("deletionTimestamp") is not None:
        why_not = "it is being deleted"
    elif finished:
        why_not = "it is finished"
    elif (item.get("spec") or {}).get("active") is False:
        why_not = "it is not active"
    elif cluster:
        why_not = f"{cluster} has it"
    elif not conditions.get("QuotaReserved", False):
        why_not = "Kueue has reserved no quota for it"
    elif conditions.get("Evicted", False):
        why_not = "it is being evicted"
    elif states[check] != "Pending":
        why_not = f"the check {check} is {states[check]}"
    elif others:
        why_not = f"it waits for {', '.join(others)}"
    else:
        why_not = ""
    return Asking(
        key=f"{metadata['namespace']}/{metadata['name']}",
        uid=metadata["uid"],
        check=check,
        cluster=cluster,
        nominated=tuple(status.get("nominatedClusterNames") or ()),
        waits=not why_not,
        why_not=why_not,
        finished=finished,
        version=str(metadata.get("resourceVersion", "")),
    )


def has_it(item: Raw, *, nominated: bool) -> frozenset[str]:
    """Members that run the Workload or may do so at any moment. nominated: those count that are only asked."""
    status = item.get("status") or {}
    if any(each["type"] == "Finished" and each["status"] == "True" for each in status.get("conditions") or ()):
        return frozenset()
    found = {str(status["clusterName"])} if status.get("clusterName") else set()
    return frozenset(found | set(status.get("nominatedClusterNames") or ()) if nominated else found)


def read_wish(item: Raw) -> Wish:
    """What its pods ask for. Raises InvalidInput with the path of a malformed field."""
    root = Field(item)
    wanted = _products(root)
    groups: list[PodGroup] = []
    assumed: list[str] = []
    for pod_set in root.at("spec", "podSets").items():
        template = pod_set.at("template")
        group, reasons = pod_group(pod_set.at("name").text("main"), template, pod_set.at("count").count(1))
        groups.append(_with_products(group, _products(template) or wanted))
        assumed += reasons
    # Whatever the kind, Kueue admits a Workload in one member, and whole.
    pods = sum(group.replicas for group in groups)
    shape = Shape("Workload", tuple(groups), gang=pods > 1, min_available=pods if pods > 1 else 0)
    whole = WorkloadShape((shape,), (0,), 1, shape.gang, shape.min_available, divisible=False, reasons=())
    classes = (group.classes(resource) for group in groups for resource, _count in group.gpus)
    return Wish(demand_of(whole, _ANYWHERE), tuple(each for each in classes if len(each) > 1), tuple(assumed))


def _products(at: Field) -> tuple[str, ...]:
    text = at.at("metadata", "annotations", GPU_PRODUCT).text()
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _with_products(group: PodGroup, wanted: Sequence[str]) -> PodGroup:
    """The group with the products of an annotation, unless its pods name some themselves."""
    if not wanted or group.products or not group.gpus:
        return group
    label = _LABEL_OF.get(group.gpus[0][0].partition("/")[0])
    return group if label is None else replace(group, products=((label, tuple(wanted)),))
