"""`NvmlReader` on a divided device (MIG), over a played libnvidia-ml.so.1."""

from __future__ import annotations

import pytest

from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.nvml.mig import profile_of, rounded_gb
from arbora_agent.gpu.reading import MigFacts
from tests.contract.gpu_reader import ONE
from tests.support.nvml.node import GIB, PlayedNode

NO_PERMISSION = 4
H100 = "NVIDIA H100 80GB HBM3"


def divide(node: PlayedNode) -> None:
    """Into an instance of 3 slices, two instances that share one of 2, and a gap between the indexes."""
    node.set("0", mig=1, mig__max=7, utilization=None, rows=None)
    node.add("0/0", instance("MIG-a", "3g.40gb", gi=1, ci=0, gib=40, used=30))
    node.add("0/2", instance("MIG-b", "1c.2g.20gb", gi=3, ci=0, gib=20, used=5))
    node.add("0/3", instance("MIG-c", "1c.2g.20gb", gi=3, ci=1, gib=20, used=5))


def instance(uuid: str, profile: str, *, gi: int, ci: int, gib: int, used: int) -> dict[str, object]:
    return {
        "uuid": uuid,
        "name": f"{H100} MIG {profile}",
        "gi": gi,
        "ci": ci,
        "memory.total": gib * GIB,
        "memory.used": used * GIB,
        "processes": 1,
    }


def test_instances_are_listed_with_their_profiles(reader: NvmlReader, node: PlayedNode) -> None:
    divide(node)
    facts = reader.facts().gpus[0]
    assert facts.mig_enabled
    assert facts.mig == (
        MigFacts("MIG-a", "3g.40gb", 1, 0, 40 * GIB),
        MigFacts("MIG-b", "1c.2g.20gb", 3, 0, 20 * GIB),
        MigFacts("MIG-c", "1c.2g.20gb", 3, 1, 20 * GIB),
    )


def test_a_reading_tells_the_memory_of_each_instance_and_no_utilization(
    reader: NvmlReader, node: PlayedNode
) -> None:
    divide(node)
    reader.facts()
    reading = reader.read(ONE)
    assert reading.mig_memory_used == (30 * GIB, 5 * GIB, 5 * GIB)
    assert (reading.utilization, reading.remap_pending, reading.temperature) == (None, None, 61)


def test_an_instance_whose_memory_is_not_told_leaves_a_gap(reader: NvmlReader, node: PlayedNode) -> None:
    divide(node)
    reader.facts()
    node.set("0/2", memory__total=None)
    assert reader.read(ONE).mig_memory_used == (30 * GIB, None, 5 * GIB)


def test_processes_of_instances_are_counted_where_those_of_the_device_are_not_told(
    reader: NvmlReader, node: PlayedNode
) -> None:
    divide(node)
    reader.facts()
    assert reader.read(ONE).processes == 2
    node.fail("0", "nvmlDeviceGetComputeRunningProcesses_v3", NO_PERMISSION)
    node.fail("0", "nvmlDeviceGetComputeRunningProcesses_v2", NO_PERMISSION)
    assert reader.read(ONE).processes == 3
    node.set("0/3", processes=None)
    assert reader.read(ONE).processes is None


def test_a_device_that_is_whole_again_has_its_values_back(reader: NvmlReader, node: PlayedNode) -> None:
    divide(node)
    reader.facts()
    assert reader.read(ONE).utilization is None
    node.set("0", mig=0, utilization=50, rows="0,0,0,0")
    facts = reader.facts().gpus[0]
    assert (facts.mig_enabled, facts.mig) == (False, ())
    reading = reader.read(ONE)
    assert (reading.utilization, reading.remap_pending, reading.mig_memory_used) == (50, False, ())


def test_a_division_that_waits_for_a_reset_has_no_instances(reader: NvmlReader, node: PlayedNode) -> None:
    divide(node)
    node.set("0", mig=0)
    assert reader.facts().gpus[0].mig == ()


@pytest.mark.parametrize(
    ("slices", "part", "mib", "profile"),
    [(1, 1, 9856, "1g.10gb"), (2, 2, 19968, "2g.20gb"), (3, 3, 40192, "3g.40gb"), (2, 1, 19968, "1c.2g.20gb")],
)
def test_a_profile_that_is_not_named_is_derived_from_the_size(
    reader: NvmlReader, node: PlayedNode, slices: int, part: int, mib: int, profile: str
) -> None:
    divide(node)
    node.set("0/0", name=H100, slices__gpu=slices, slices__compute=part, memory__mib=mib)
    assert reader.facts().gpus[0].mig[0].profile == profile


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "1g.10gb"),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", "1c.3g.20gb"),
        ("NVIDIA A100-PCIE-40GB MIG 1g.5gb+me", "1g.5gb+me"),
        ("NVIDIA H100 80GB HBM3", ""),
        ("", ""),
    ],
)
def test_the_name_of_an_instance_ends_with_its_profile(name: str, profile: str) -> None:
    assert profile_of(name) == profile


@pytest.mark.parametrize(
    ("mib", "device_gib", "gb"),
    [(4864, 40, 5), (9856, 40, 10), (19968, 40, 20), (11008, 96, 12), (16384, 141, 18)],
)
def test_memory_in_a_profile_is_in_eighths_of_the_device(mib: int, device_gib: int, gb: int) -> None:
    assert rounded_gb(mib * 1024**2, device_gib * GIB) == gb
