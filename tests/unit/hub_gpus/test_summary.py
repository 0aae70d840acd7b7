"""GPUs summed up for people: what Kubernetes counts, what devices say, and who is not there."""

from __future__ import annotations

from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow
from arbora.capacity.wire import class_from_wire
from arbora.v1 import gpu_pb2 as pb
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.gpus.summary import Told, by_class, by_member, by_node
from arbora_hub.inventory.liveness import Liveness

H100 = GpuClass("nvidia", "H100")
L4 = GpuClass("nvidia", "L4")
COUNTS = ("total", "used", "free", "unhealthy", "unusable", "pending", "lost")


def sketch(free: int, used: int = 0, **more: int) -> SketchRow:
    total = more.pop("total", free + used)
    return SketchRow(members=1, total=total, allocatable=free + used, free=free, used=used, **more)


def told(name: str = "/a", gpu_class: GpuClass = H100, **how: Any) -> Told:
    defaults = {"liveness": Liveness.ONLINE, "cordoned": False, "sketch": None, "rollup": None}
    return Told(name, gpu_class, **{**defaults, **how})


def counts(row: pb.GpuSummary) -> dict[str, int]:
    """Those that are not 0."""
    return {name: value for name in COUNTS if (value := getattr(row, name))}


# by class


def test_by_class_there_is_one_row_for_each_class_in_the_order_of_their_names() -> None:
    rows = by_class(
        [
            told("/b", L4, sketch=sketch(2)),
            told("/a", H100, sketch=sketch(8)),
            told("/b", H100, sketch=sketch(3, used=5)),
        ]
    )
    assert [row.name for row in rows] == ["H100", "L4"]
    assert [class_from_wire(row.gpu_class) for row in rows] == [H100, L4]
    assert [counts(row) for row in rows] == [{"total": 16, "used": 5, "free": 11}, {"total": 2, "free": 2}]
    assert [row.members for row in rows] == [2, 1]


def test_instances_and_shared_devices_are_classes_of_their_own() -> None:
    sliced, shared = GpuClass("nvidia", "H100", "1g.10gb"), GpuClass("nvidia", "H100", sharing="mps")
    rows = by_class(told(gpu_class=each, sketch=sketch(1)) for each in (sliced, shared, H100))
    assert [row.name for row in rows] == ["H100", "H100 (mps)", "H100 1g.10gb"]


def test_nothing_sums_up_to_nothing() -> None:
    assert by_class([]) == by_member([]) == by_node({}) == []


# by member


def test_by_member_there_is_one_row_for_each_child_and_its_class_only_where_it_has_one() -> None:
    rows = by_member(
        [
            told("/b", H100, sketch=sketch(8)),
            told("/b", L4, sketch=sketch(2)),
            told("/a", L4, sketch=sketch(1)),
        ]
    )
    assert [(row.name, row.total, row.members) for row in rows] == [("/a", 1, 1), ("/b", 10, 1)]
    assert [row.HasField("gpu_class") for row in rows] == [True, False]


def test_a_child_hub_stands_for_the_members_below_it_however_many_classes_they_have() -> None:
    (row,) = by_member(told("/eu", each, sketch=sketch(8), members=12) for each in (H100, L4))
    assert row.members == 12


# what Kubernetes says


def test_a_device_that_drains_or_stands_on_a_closed_node_is_unusable() -> None:
    (row,) = by_class([told(sketch=sketch(4, total=9, unusable=2, draining=1, unhealthy=2, pending=3))])
    assert counts(row) == {"total": 9, "free": 4, "unusable": 3, "unhealthy": 2, "pending": 3}


def test_what_is_free_in_a_cordoned_member_is_unusable_and_what_is_used_there_is_used() -> None:
    closed = told("/a", cordoned=True, sketch=sketch(6, used=2))
    (row,) = by_class([closed, told("/b", sketch=sketch(1, used=7))])
    assert counts(row) == {"total": 16, "used": 9, "free": 1, "unusable": 6}


def test_a_lost_member_counts_as_lost_and_in_no_other_number() -> None:
    gone = told("/a", liveness=Liveness.LOST, sketch=sketch(6, used=2, pending=4), rollup=Rollup(devices=8))
    (row,) = by_class([gone, told("/b", sketch=sketch(1), rollup=Rollup(devices=1))])
    assert counts(row) == {"total": 1, "free": 1, "lost": 8}
    assert row.rollup.devices == 1
    assert row.members == 2


def test_a_member_that_is_cordoned_and_lost_takes_nothing_from_what_others_have_free() -> None:
    gone = told("/a", liveness=Liveness.LOST, cordoned=True, sketch=sketch(8))
    (row,) = by_class([gone, told("/b", sketch=sketch(3))])
    assert counts(row) == {"total": 3, "free": 3, "lost": 8}


def test_a_member_that_is_not_heard_of_counts_while_its_lease_runs() -> None:
    (row,) = by_class([told(liveness=Liveness.SUSPECT, sketch=sketch(8), rollup=Rollup(devices=8, silent=8))])
    assert counts(row) == {"total": 8, "free": 8}
    assert (row.rollup.devices, row.rollup.silent) == (8, 8)


def test_what_no_field_holds_is_cut_to_what_it_holds() -> None:
    most = 2**32 - 1
    (row,) = by_class([told("/a", sketch=sketch(most)), told("/b", sketch=sketch(most))])
    assert counts(row) == {"total": most, "free": most}


# what devices say


def test_what_devices_say_is_added_up_and_absent_where_none_is_read() -> None:
    rows = by_member(
        [
            told("/a", H100, sketch=sketch(8)),
            told("/b", H100, rollup=Rollup(devices=8, healthy=8, temperature_max=70)),
            told("/b", L4, rollup=Rollup(devices=2, unhealthy=2, temperature_max=90)),
        ]
    )
    assert [row.HasField("rollup") for row in rows] == [False, True]
    said = rows[1].rollup
    assert (said.devices, said.healthy, said.unhealthy, said.temperature_max) == (10, 8, 2, 90)


def test_devices_that_kubernetes_does_not_know_are_a_row_without_its_counts() -> None:
    (row,) = by_class([told(rollup=Rollup(devices=8))])
    assert counts(row) == {}
    assert row.rollup.devices == 8


# by node


def test_by_node_there_is_one_row_for_each_node_of_what_its_devices_say() -> None:
    well, bad = Rollup(devices=1, healthy=1), Rollup(devices=1, unhealthy=1)
    rows = by_node({"n2": [(H100, well)], "n1": [(H100, well), (H100, bad), (H100, well)]})
    assert [(row.name, row.total, row.unhealthy) for row in rows] == [("n1", 3, 1), ("n2", 1, 0)]
    assert {row.members for row in rows} == {1}
    assert [row.rollup.devices for row in rows] == [3, 1]
    assert class_from_wire(rows[0].gpu_class) == H100


def test_a_node_with_devices_of_two_classes_has_none() -> None:
    (row,) = by_node({"n1": [(L4, Rollup(devices=1)), (H100, Rollup(devices=2))]})
    assert not row.HasField("gpu_class")
    assert (row.total, row.rollup.devices) == (3, 3)
