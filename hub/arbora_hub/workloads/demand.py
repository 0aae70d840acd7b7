"""From a workload's shape to the demand that placement decides on. Pure.

A unit is what a division counts: a replica, or with several pods per unit all of them together. Units of several
pods can't be spread over nodes by the sketch's numbers one by one, so such a workload goes whole.
"""

from __future__ import annotations

from arbora.capacity.shape import PodGroup as ShapeGroup
from arbora.capacity.shape import WorkloadShape
from arbora.errors import InvalidInput
from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import Policy
from arbora_hub.placement.validate import check_demand


def demand_of(shape: WorkloadShape, policy: Policy) -> Demand:
    """What the workload asks for. Raises InvalidInput if it can't be divided as the policy wants."""
    if policy.mode != "duplicate" and not can_divide(shape):
        if any(one.gang for one in shape.shapes) or not shape.shapes:
            pass  # a gang, or objects without pods, goes whole whatever the mode
        elif shape.units > 1 or any(one.pods > 1 for one in shape.shapes):
            why = "; ".join(shape.reasons) or "its objects have no replicas that could be divided"
            raise InvalidInput(
                f"the workload can't be divided: {why}",
                field="spec.placement.division",
                hint="Leave division out, or declare it with the annotation arbora.dev/divisible.",
            )
    demand = Demand(tuple(_group(group) for group in shape.groups), gang=shape.gang)
    check_demand(demand, "spec.manifests")
    return demand


def can_divide(shape: WorkloadShape) -> bool:
    """Whether shares of it can go to several members."""
    return shape.divisible and all(one.pods_per_unit == 1 for one in shape.shapes)


def _group(group: ShapeGroup) -> PodGroup:
    if len(group.gpus) > 1:
        kinds = " and ".join(resource for resource, _ in group.gpus)
        raise InvalidInput(f"pod {group.name} asks for {kinds} at once", field="spec.manifests")
    wish, count = None, 0
    if group.gpus:
        resource, count = group.gpus[0]
        classes = group.classes(resource)
        products = {one.product for one in classes}
        wish = GpuWish(resource, products.pop() if len(products) == 1 else "")
    return PodGroup(
        name=group.name,
        replicas=group.replicas,
        gpus_per_pod=count if wish is not None else 0,
        gpu=wish,
        cpu_millis=group.cpu_millis,
        memory_mib=group.memory_mib,
    )
