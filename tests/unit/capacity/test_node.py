"""From nodes and pods to free GPUs per class."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.gpus import GpuClass
from arbora.capacity.node import gpu_class, node_gpus, read_node
from arbora.capacity.pod import PodUse

H100 = "NVIDIA-H100-80GB-HBM3"


def node(
    gpus: dict[str, int] | None = None,
    *,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    ready: str = "True",
    cordoned: bool = False,
    unhealthy: int = 0,
) -> dict[str, Any]:
    devices = {"nvidia.com/gpu": 8} if gpus is None else gpus
    general = {"cpu": "64", "memory": "512Gi", "pods": "110"}
    return {
        "metadata": {"name": "n1", "labels": {"nvidia.com/gpu.product": H100, **(labels or {})}},
        "spec": {"taints": taints, **({"unschedulable": True} if cordoned else {})},
        "status": {
            "capacity": {**general, **{name: str(count) for name, count in devices.items()}},
            "allocatable": {**general, **{name: str(count - unhealthy) for name, count in devices.items()}},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def use(gpus: int, resource: str = "nvidia.com/gpu") -> PodUse:
    return PodUse("n1", ((resource, gpus),), 1500, 1024)


def test_free_is_allocatable_less_requested() -> None:
    (gpus,) = node_gpus(read_node(node(unhealthy=1)), [use(3), use(2)])
    assert (gpus.capacity, gpus.allocatable, gpus.requested, gpus.free) == (8, 7, 5, 2)
    assert gpus.gpu_class == GpuClass("nvidia", H100)
    assert (gpus.free_cpu_millis, gpus.free_memory_mib) == (61_000, 510 * 1024)


@pytest.mark.parametrize(
    ("what", "usable"),
    [
        ({}, True),
        ({"ready": "False"}, False),
        ({"ready": "Unknown"}, False),
        ({"cordoned": True}, False),
        ({"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "maintenance", "effect": "PreferNoSchedule"}]}, True),
        ({"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}, False),
    ],
)
def test_a_node_that_pods_cant_use_has_nothing_free(what: dict[str, Any], usable: bool) -> None:
    (gpus,) = node_gpus(read_node(node(**what)), [])
    assert gpus.usable is usable
    assert gpus.free == (8 if usable else 0)
    assert gpus.allocatable == 8


@pytest.mark.parametrize(
    ("resource", "labels", "expected"),
    [
        ("nvidia.com/gpu", {"nvidia.com/gpu.product": H100}, GpuClass("nvidia", H100)),
        ("nvidia.com/gpu", {}, GpuClass("nvidia", "nvidia-gpu")),
        (
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.sharing-strategy": "none"},
            GpuClass("nvidia", "Tesla-T4"),
        ),
        (
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": "Tesla-T4-SHARED"},
            GpuClass("nvidia", "Tesla-T4", sharing="time-slicing"),
        ),
        (
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": "Tesla-T4-SHARED", "nvidia.com/gpu.sharing-strategy": "mps"},
            GpuClass("nvidia", "Tesla-T4", sharing="mps"),
        ),
        (
            "nvidia.com/gpu.shared",
            {"nvidia.com/gpu.product": "Tesla-T4"},
            GpuClass("nvidia", "Tesla-T4", sharing="time-slicing"),
        ),
        (
            "nvidia.com/gpu",
            {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"},
            GpuClass("nvidia", "NVIDIA-A100-SXM4-40GB", "1g.5gb"),
        ),
        (
            "nvidia.com/mig-1g.10gb",
            {"nvidia.com/gpu.product": H100, "nvidia.com/mig-1g.10gb.product": f"{H100}-MIG-1g.10gb"},
            GpuClass("nvidia", H100, "1g.10gb"),
        ),
        ("nvidia.com/mig-3g.40gb", {"nvidia.com/gpu.product": H100}, GpuClass("nvidia", H100, "3g.40gb")),
        (
            "nvidia.com/mig-1g.5gb.shared",
            {"nvidia.com/gpu.product": "A100", "nvidia.com/mig-1g.5gb.sharing-strategy": "time-slicing"},
            GpuClass("nvidia", "A100", "1g.5gb", "time-slicing"),
        ),
        ("amd.com/gpu", {"amd.com/gpu.product-name": "MI300X"}, GpuClass("amd", "MI300X")),
        ("amd.com/gpu", {}, GpuClass("amd", "amd-gpu")),
        ("gpu.intel.com/i915", {"gpu.intel.com/product": "Max_1100"}, GpuClass("intel", "Max_1100")),
        ("gpu.intel.com/xe", {}, GpuClass("intel", "intel-gpu")),
    ],
)
def test_the_class_comes_from_resource_and_labels(
    resource: str, labels: dict[str, str], expected: GpuClass
) -> None:
    assert gpu_class(resource, labels) == expected


def test_mig_profiles_on_one_node_are_classes_of_their_own() -> None:
    devices = {"nvidia.com/gpu": 0, "nvidia.com/mig-1g.10gb": 7, "nvidia.com/mig-3g.40gb": 2}
    found = node_gpus(read_node(node(devices)), [use(4, "nvidia.com/mig-1g.10gb")])
    assert {gpus.gpu_class.mig_profile: (gpus.allocatable, gpus.requested) for gpus in found} == {
        "1g.10gb": (7, 4),
        "3g.40gb": (2, 0),
    }


def test_a_node_without_gpus_has_no_rows() -> None:
    assert node_gpus(read_node(node({"example.com/fpga": 2, "gpu.intel.com/i915_monitoring": 1})), []) == ()


def test_only_labels_that_scheduling_uses_are_kept() -> None:
    zone = {"topology.kubernetes.io/zone": "b", "kubernetes.io/hostname": "n1"}
    assert read_node(node(labels=zone)).labels == (("topology.kubernetes.io/zone", "b"),)


def test_a_bare_node_object_is_read() -> None:
    shape = read_node({"metadata": {"name": "bare"}})
    assert (shape.ready, shape.usable, shape.devices) == (False, False, ())


@given(st.lists(st.integers(1, 8), max_size=6), st.integers(0, 16))
def test_free_is_never_negative_and_never_more_than_offered(asked: list[int], offered: int) -> None:
    for gpus in node_gpus(read_node(node({"nvidia.com/gpu": offered})), [use(each) for each in asked]):
        assert gpus.requested == sum(asked)
        assert gpus.free == max(0, offered - sum(asked))
