"""Rows added up over a tree: nothing is lost or promised twice, however the tree is cut."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.aggregate import (
    MAX_LABELS,
    MAX_ROWS,
    TreeRow,
    add_up,
    from_wire,
    limited,
    record_keys,
    to_wire,
)
from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import SketchRow, merge, sketch, without_free
from arbora.errors import InvalidInput
from arbora.v1 import member_pb2 as pb

H100, L4 = GpuClass("nvidia", "H100"), GpuClass("nvidia", "L4")


def counts(*free: int) -> SketchRow:
    return sketch([NodeGpus("n", H100, 8, 8, 8 - each) for each in free], {})[H100]


def row(
    *free: int, gpu_class: GpuClass = H100, stale: bool = False, taints: Sequence[str] = (), **labels: str
) -> TreeRow:
    one = counts(*free)
    return TreeRow(
        gpu_class,
        tuple(sorted(labels.items())),
        tuple(sorted((key, "", "NoSchedule") for key in taints)),
        stale,
        row=without_free(one) if stale else one,
    )


tree_rows = st.lists(
    st.builds(
        lambda free, gpu_class, stale, taints, labels, age: replace(
            row(*free, gpu_class=gpu_class, stale=stale, taints=sorted(taints), **labels), worst_age=age
        ),
        st.lists(st.integers(0, 8), min_size=1, max_size=3),
        st.sampled_from([H100, L4]),
        st.booleans(),
        st.sets(st.sampled_from(["a", "b", "c"]), max_size=2),
        st.dictionaries(
            st.sampled_from(["zone", "site", "team"]), st.sampled_from(["1", "2", "3", "4"]), max_size=3
        ),
        st.integers(0, 100).map(float),
    ),
    max_size=25,
)


def sums(rows: Sequence[TreeRow]) -> dict[tuple[GpuClass, bool], SketchRow]:
    groups = defaultdict(list)
    for one in rows:
        groups[one.gpu_class, one.stale].append(one.row)
    return {key: merge(each) for key, each in groups.items()}


def data(rows: Sequence[TreeRow]) -> list[bytes]:
    return [one.SerializeToString(deterministic=True) for one in to_wire(rows).values()]


def test_rows_of_equal_members_become_one_and_others_stay_apart() -> None:
    rows = add_up([row(8, zone="a"), row(4, 4, zone="a"), row(8, zone="b"), row(8, zone="a", taints=["spot"])])
    assert [(one.labels, len(one.taints), one.row.free) for one in rows] == [
        ((("zone", "a"),), 0, 16),
        ((("zone", "a"),), 1, 8),
        ((("zone", "b"),), 0, 8),
    ]


def test_best_is_of_one_member_and_the_age_is_that_of_the_oldest_report() -> None:
    (one,) = add_up([replace(row(8, 8), worst_age=10.0), replace(row(8, 8, 8), worst_age=30.0, approximate=True)])
    assert (one.row.members, one.row.fit(8), one.row.best_fit(8)) == (2, 5, 3)
    assert (one.worst_age, one.approximate) == (30.0, True)


def test_a_stale_row_shows_what_there_is_and_promises_nothing() -> None:
    one = without_free(counts(8, 3))
    assert (one.total, one.allocatable, one.used) == (16, 16, 5)
    assert (one.free, one.fit(1), one.best_fit(1), one.free_cpu_millis) == (0, 0, 0, 0)


@given(tree_rows, tree_rows, tree_rows)
def test_rows_are_a_commutative_monoid(one: list[TreeRow], two: list[TreeRow], three: list[TreeRow]) -> None:
    assert add_up([*one, *two]) == add_up([*two, *one])
    assert add_up([*add_up([*one, *two]), *three]) == add_up([*one, *add_up([*two, *three])])
    assert add_up([*one, *add_up([])]) == add_up(one)
    assert add_up([*add_up(one), *add_up(two), *add_up(three)]) == add_up([*one, *two, *three])


@given(tree_rows, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_children_changes_no_byte(rows: list[TreeRow], limit: int, chance: random.Random) -> None:
    before = data(limited(rows, limit))
    chance.shuffle(rows)
    assert data(limited(rows, limit)) == before


@given(tree_rows, st.integers(1, 12))
def test_a_limit_forgets_distinctions_and_never_devices(rows: list[TreeRow], limit: int) -> None:
    few = limited(rows, limit)
    assert sums(few) == sums(rows)
    assert len(few) <= max(limit, len(sums(rows)))
    assert limited(few, limit) == few
    assert all(one.approximate for one in few if one not in add_up(rows))


@given(tree_rows, st.integers(1, 12))
def test_a_merged_row_promises_no_more_than_its_parts(rows: list[TreeRow], limit: int) -> None:
    """Whoever tolerates only some taints is promised no more devices than without a limit."""

    def free(those: Sequence[TreeRow], tolerated: set[str]) -> int:
        return sum(one.row.free for one in those if {key for key, _, _ in one.taints} <= tolerated)

    few = limited(rows, limit)
    for tolerated in (set(), {"a"}, {"a", "b"}):
        assert free(few, tolerated) <= free(rows, tolerated)
    assert free(few, {"a", "b", "c"}) == free(rows, {"a", "b", "c"})


def test_the_label_with_the_most_values_is_left_out_first() -> None:
    rows = limited([row(8, zone=f"z{n % 2}", node=f"n{n}", fleet="f") for n in range(10)], 4)
    assert [(one.labels, one.row.free, one.approximate) for one in rows] == [
        ((("fleet", "f"), ("zone", "z0")), 40, True),
        ((("fleet", "f"), ("zone", "z1")), 40, True),
    ]


def test_rows_that_labels_do_not_tell_apart_are_merged_the_smallest_first() -> None:
    rows = [row(8, fleet="f", taints=["a"]), row(8, 8, fleet="f", taints=["b"]), row(*[8] * 9, fleet="f")]
    few = limited(rows, 2)
    assert [([key for key, _, _ in one.taints], one.row.total, one.approximate) for one in few] == [
        ([], 72, False),
        (["a", "b"], 24, True),
    ]
    assert all(one.labels == (("fleet", "f"),) for one in few)


def test_stale_and_fresh_rows_are_never_merged_even_if_the_limit_is_too_small() -> None:
    few = limited([row(8, zone="a"), row(8, zone="b", stale=True), row(8, gpu_class=L4)], 1)
    assert [(one.gpu_class, one.stale, one.row.free) for one in few] == [
        (H100, False, 8),
        (H100, True, 0),
        (L4, False, 8),
    ]


@given(tree_rows)
def test_what_is_sent_arrives_as_it_was(rows: list[TreeRow]) -> None:
    sent = to_wire(add_up(rows))
    assert set(sent) <= {"sketch/nvidia:H100::exclusive", "sketch/nvidia:L4::exclusive"}
    assert add_up(one for message in sent.values() for one in from_wire(message)) == add_up(rows)


def test_classes_with_equal_or_endless_names_have_records_of_their_own() -> None:
    classes = [GpuClass("v", "a/b"), GpuClass("v", "a_b"), GpuClass("v" * 253, "p" * 253)]
    keys = record_keys(classes)
    assert len(set(keys.values())) == 3
    assert all(len(key) <= 400 for key in keys.values())


def test_members_that_lie_about_their_numbers_break_no_sum() -> None:
    much = replace(counts(8), total=2**32 - 1, allocatable=2**32 - 1, used=2**31, free=2**31 - 1)
    (message,) = to_wire(add_up([TreeRow(H100, row=much)] * 3)).values()
    (read,) = from_wire(message)
    assert read.row.used + read.row.free == read.row.allocatable == read.row.total == 2**32 - 1


def test_more_labels_than_a_receiver_takes_are_not_sent() -> None:
    labels = tuple((f"k{n:03}", "v") for n in range(MAX_LABELS + 1))
    (one,) = limited([replace(row(8), labels=labels)])
    assert len(one.labels) == MAX_LABELS
    assert one.approximate
    (message,) = to_wire([one]).values()
    assert from_wire(message) == (one,)


def message(**changes: object) -> pb.Sketch:
    (sent,) = to_wire([row(8, zone="a", taints=["spot"])]).values()
    for name, value in changes.items():
        setattr(sent.rows[0], name, value)
    return sent


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (message(stale=True), "rows[0].free"),
        (message(free=3), "rows[0].allocatable"),
        (pb.Sketch(gpu_class=pb.GpuClass(vendor="v")), "gpu_class.product"),
        (
            pb.Sketch(gpu_class=pb.GpuClass(vendor="v", product="p"), rows=[pb.SketchRow()] * (MAX_ROWS + 1)),
            "rows",
        ),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(wrong: pb.Sketch, field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        from_wire(wrong)
    assert error.value.field == f"sketch.{field}"


def test_labels_taints_and_ages_of_a_record_are_checked() -> None:
    long, unknown, negative, many = message(), message(), message(), message()
    long.rows[0].labels["zone"] = "a" * 64
    unknown.rows[0].taints[0].effect = 77  # type: ignore[assignment]
    negative.rows[0].worst_age.CopyFrom(Duration(seconds=-1))
    for n in range(MAX_LABELS):
        many.rows[0].labels[f"k{n}"] = ""
    for wrong in (long, unknown, negative, many):
        with pytest.raises(InvalidInput):
            from_wire(wrong)
