"""Which pods hold which devices, by the names that device plugins give out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.gpus.model import Holder
from arbora.v1 import pod_resources_pb2 as pb
from arbora_agent.gpu.reading import MigFacts
from arbora_agent.node_agent.holders import holders_of
from tests.support.gpus import facts_of

PLAIN = facts_of("n", 2).gpus
DIVIDED = (
    replace(PLAIN[0], uuid="GPU-0a", minor=0, mig_enabled=True, mig=(MigFacts("MIG-1", "3g.20gb", 1, 0, 1),)),
    replace(PLAIN[1], uuid="GPU-0b", minor=1),
)


def said(*devices: str, resource: str = "nvidia.com/gpu", pod: str = "train-1") -> pb.PodResourcesList:
    container = pb.ContainerResources(devices=[pb.ContainerDevices(resource_name=resource, device_ids=devices)])
    return pb.PodResourcesList(
        pod_resources=[pb.PodResources(name=pod, namespace="team", containers=[container])]
    )


def test_a_pod_holds_the_devices_that_the_kubelet_gave_it() -> None:
    held, unknown = holders_of(said(PLAIN[1].uuid), PLAIN)
    assert held == {PLAIN[0].uuid: (), PLAIN[1].uuid: (Holder("team", "train-1"),)}
    assert unknown == ()


@pytest.mark.parametrize("name", ["MIG-1", "MIG-1::3", "MIG-GPU-0a/1/0", "GPU-0a::0", "nvidia0", "nvidia0/gi1"])
def test_an_instance_or_a_share_is_held_on_the_device_that_it_is_part_of(name: str) -> None:
    held, unknown = holders_of(said(name, resource="nvidia.com/mig-3g.20gb"), DIVIDED)
    assert held == {"GPU-0a": (Holder("team", "train-1"),), "GPU-0b": ()}
    assert unknown == ()


def test_several_pods_hold_a_shared_device() -> None:
    both = said("GPU-0a::0", pod="a")
    both.MergeFrom(said("GPU-0a::1", pod="b"))
    assert holders_of(both, DIVIDED)[0]["GPU-0a"] == (Holder("team", "a"), Holder("team", "b"))


def test_devices_of_others_are_left_alone() -> None:
    held, unknown = holders_of(said("eth0", resource="rdma/hca"), PLAIN)
    assert not any(held.values())
    assert unknown == ()


def test_a_device_that_the_driver_does_not_list_is_told() -> None:
    assert holders_of(said("GPU-elsewhere", "nvidia9"), DIVIDED)[1] == ("GPU-elsewhere", "nvidia9")
