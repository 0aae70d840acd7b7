"""What manifests ask for becomes the demand that is placed."""

from __future__ import annotations

from typing import Any

import pytest

from arbora.capacity.shape import shape_of_all
from arbora.errors import InvalidInput
from arbora_hub.placement.demand import Demand, GpuWish
from arbora_hub.placement.policy import Division, Policy
from arbora_hub.workloads.demand import can_divide, demand_of
from tests.support.hub import config_map, job
from tests.support.placing import T4, deployment, gang, t4_job

WHOLE, SPREAD = Policy(), Policy(division=Division("spread"))


def demand(*manifests: dict[str, Any], policy: Policy = WHOLE) -> Demand:
    return demand_of(shape_of_all(manifests), policy)


def test_replicas_and_their_gpus_are_counted_by_product_where_one_is_named() -> None:
    (group,) = demand(deployment("serve", 6, 2)).groups
    assert (group.replicas, group.gpus_per_pod, group.gpu) == (6, 2, GpuWish("nvidia.com/gpu"))
    (group,) = demand(t4_job("infer", 4)).groups
    assert (group.replicas, group.gpus_per_pod, group.gpu) == (1, 4, GpuWish("nvidia.com/gpu", T4))
    (group,) = demand(deployment("web", 3, 0)).groups
    assert (group.replicas, group.gpus_per_pod, group.gpu) == (3, 0, None)


def test_a_gang_is_one_and_objects_without_pods_ask_for_nothing() -> None:
    train = demand(gang("train", 4, 8))
    assert (train.gang, train.whole, train.gpus) == (True, True, 32)
    assert demand(config_map("settings")) == Demand()


def test_one_object_of_equal_pods_can_be_divided() -> None:
    assert can_divide(shape_of_all([deployment("serve", 6), config_map("settings")]))
    assert not can_divide(shape_of_all([deployment("one", 6), deployment("two", 6)]))
    assert not can_divide(shape_of_all([gang("train", 4, 8)]))


def test_a_division_of_what_can_not_be_divided_is_refused_but_a_gang_just_goes_whole() -> None:
    with pytest.raises(InvalidInput, match="more than one object counts") as refused:
        demand(deployment("one", 6), deployment("two", 6), policy=SPREAD)
    assert refused.value.field == "spec.placement.division"
    assert demand(gang("train", 4, 8), policy=SPREAD).whole
    assert demand(config_map("settings"), policy=SPREAD).replicas == 0
    assert demand(job("train", 8), policy=SPREAD).replicas == 1


def test_a_pod_that_wants_devices_of_two_kinds_is_refused() -> None:
    manifest = job("train", 1)
    limits = manifest["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    limits["nvidia.com/mig-1g.10gb"] = "1"
    with pytest.raises(InvalidInput, match="at once") as refused:
        demand(manifest)
    assert refused.value.field == "spec.manifests"
