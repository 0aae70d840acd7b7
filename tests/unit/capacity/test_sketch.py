"""Sketches: what they count, that they add up, and their messages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import EMPTY, SketchRow, merge, sketch
from arbora.capacity.wire import class_from_wire, class_to_wire, sketch_from_wire, sketch_to_wire
from arbora.errors import InvalidInput
from arbora.v1 import member_pb2 as pb

H100 = GpuClass("nvidia", "H100")
A100 = GpuClass("nvidia", "A100")


def node(free: int, *, name: str = "n", size: int | None = None, usable: bool = True) -> NodeGpus:
    capacity = free if size is None else size
    return NodeGpus(name, H100, capacity, capacity, capacity - free, usable=usable)


def row_of(free: Sequence[int]) -> SketchRow:
    return sketch([node(each, size=16) for each in free], {})[H100]


nodes = st.builds(
    lambda size, broken, requested, usable, cpu: NodeGpus(
        "n", H100, size, max(0, size - broken), requested, usable, cpu, cpu * 4
    ),
    st.integers(0, 20),
    st.integers(0, 3),
    st.integers(0, 20),
    st.booleans(),
    st.integers(0, 10_000),
)
rows = st.lists(nodes, min_size=1, max_size=6).map(lambda each: sketch(each, {"nvidia.com/gpu": 3})[H100])


def test_two_fleets_with_24_free_take_different_numbers_of_large_pods() -> None:
    scattered, whole = row_of([8, 4, 4, 2, 2, 2, 1, 1]), row_of([8, 8, 8])
    assert (scattered.free, whole.free) == (24, 24)
    assert (scattered.fit(8), whole.fit(8)) == (1, 3)
    assert (scattered.best_fit(8), whole.best_fit(8)) == (1, 3)
    assert (scattered.fit(1), whole.fit(1)) == (24, 24)


def test_best_is_what_one_single_member_can_take_and_fit_what_all_can() -> None:
    both = merge([row_of([8, 8]), row_of([8, 8, 8])])
    assert both.members == 2
    assert both.fit(8) == 5
    assert both.best_fit(8) == 3


def test_used_and_free_are_counted_on_usable_nodes_only() -> None:
    row = sketch([node(3, size=8), node(5, size=8, usable=False)], {})[H100]
    assert (row.total, row.allocatable, row.used, row.free, row.unusable) == (16, 8, 5, 3, 8)
    assert sum(row.histogram) == 1


def test_a_device_that_is_out_of_order_is_neither_free_nor_used() -> None:
    row = sketch([NodeGpus("n", H100, capacity=8, allocatable=6, requested=7)], {})[H100]
    assert (row.unhealthy, row.allocatable, row.used, row.free) == (2, 6, 6, 0)


def test_nodes_with_more_than_16_free_share_the_last_bin_and_best_stays_exact() -> None:
    row = sketch([node(20)], {})[H100]
    assert row.histogram[16] == 1
    assert row.free == 20
    assert row.fit(4) == 4
    assert row.best_fit(4) == 5


def test_each_class_has_its_row_in_a_stable_order() -> None:
    fleet = [node(8), NodeGpus("a", A100, 4, 4, 0)]
    assert list(sketch(fleet, {})) == [A100, H100]
    assert sketch([], {}) == {}


def test_waiting_demand_counts_once_at_the_class_with_the_most_devices() -> None:
    fleet = [node(8), NodeGpus("a", A100, 4, 4, 0)]
    found = sketch(fleet, {"nvidia.com/gpu": 5, "amd.com/gpu": 2})
    assert (found[H100].pending, found[A100].pending) == (5, 0)


def test_waiting_demand_for_a_mig_profile_goes_to_that_profile() -> None:
    slices = GpuClass("nvidia", "H100", "1g.10gb")
    found = sketch([node(8), NodeGpus("m", slices, 7, 7, 7)], {"nvidia.com/mig-1g.10gb": 2})
    assert (found[H100].pending, found[slices].pending) == (0, 2)


def test_waiting_demand_for_shared_devices_goes_to_a_shared_class() -> None:
    shared = GpuClass("nvidia", "T4", sharing="time-slicing")
    found = sketch([node(8), NodeGpus("s", shared, 4, 4, 4)], {"nvidia.com/gpu.shared": 2})
    assert (found[H100].pending, found[shared].pending) == (0, 2)


@pytest.mark.parametrize("size", [0, -1])
def test_a_pod_without_devices_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput):
        EMPTY.fit(size)
    with pytest.raises(InvalidInput):
        EMPTY.best_fit(size)


@given(rows, rows, rows)
def test_merging_is_associative(a: SketchRow, b: SketchRow, c: SketchRow) -> None:
    assert merge([merge([a, b]), c]) == merge([a, merge([b, c])]) == merge([a, b, c])


@given(rows, rows)
def test_merging_is_commutative(a: SketchRow, b: SketchRow) -> None:
    assert merge([a, b]) == merge([b, a])


@given(rows)
def test_the_empty_row_is_the_identity(a: SketchRow) -> None:
    assert merge([a, EMPTY]) == merge([EMPTY, a]) == merge([a]) == a
    assert merge([]) == EMPTY


@given(rows, st.integers(1, 16))
def test_a_row_never_promises_more_than_is_free(row: SketchRow, size: int) -> None:
    assert row.used + row.free == row.allocatable <= row.total
    assert row.fit(size) * size <= row.free
    assert row.fit(size) <= row.best_fit(size)


@given(rows)
def test_a_row_survives_the_wire(row: SketchRow) -> None:
    sent = pb.Sketch.FromString(sketch_to_wire(H100, row).SerializeToString())
    assert sketch_from_wire(sent) == (H100, row)


def test_a_class_survives_the_wire_and_sharing_defaults_to_exclusive() -> None:
    sliced = GpuClass("nvidia", "H100", "1g.10gb", "mps")
    assert class_from_wire(class_to_wire(sliced)) == sliced
    assert class_from_wire(pb.GpuClass(vendor="nvidia", product="T4")).sharing == "exclusive"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("vendor", pb.GpuClass(product="T4")),
        ("product", pb.GpuClass(vendor="nvidia")),
        ("product", pb.GpuClass(vendor="nvidia", product="x" * 254)),
    ],
)
def test_a_malformed_class_is_refused_by_field(field: str, wrong: pb.GpuClass) -> None:
    with pytest.raises(InvalidInput, match=field):
        class_from_wire(wrong)


def test_a_malformed_row_is_refused_by_field() -> None:
    def wrong(**change: object) -> pb.Sketch:
        message = sketch_to_wire(H100, row_of([8, 4]))
        for name, value in change.items():
            message.rows[0].ClearField(name)  # type: ignore[arg-type]
            if isinstance(value, list):
                getattr(message.rows[0], name).extend(value)
            else:
                setattr(message.rows[0], name, value)
        return message

    for field, change in {
        "histogram": {"histogram": [1, 2]},
        "best": {"best": [1] * 17},
        "allocatable": {"free": 999},
        "total": {"total": 1},
    }.items():
        with pytest.raises(InvalidInput, match=field):
            sketch_from_wire(wrong(**change))
