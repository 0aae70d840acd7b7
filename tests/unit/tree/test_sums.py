"""Sums that are kept are those that would be made anew."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.aggregate import TreeRow, add_up
from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora_hub.tree.sums import Sums

H100 = GpuClass("nvidia", "H100")


def row(zone: str, free: int, age: int) -> TreeRow:
    counts = sketch([NodeGpus("n", H100, 8, 8, 8 - free)], {})[H100]
    return replace(TreeRow(H100, (("zone", zone),), row=counts), worst_age=float(age))


rows = st.dictionaries(st.sampled_from("xyz"), st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=3).map(
    lambda zones: add_up(row(zone, free, age) for zone, (free, age) in zones.items())
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), rows, st.booleans()), max_size=20))
def test_after_any_changes_the_sums_are_those_of_the_children_now(
    changes: list[tuple[str, tuple[TreeRow, ...], bool]],
) -> None:
    sums, children = Sums(), dict[str, tuple[TreeRow, ...]]()
    for child, those, look in changes:
        assert sums.replace(child, those) is (children.get(child, ()) != those)
        children[child] = those
        if look:
            sums.rows()
    assert sums.rows() == add_up(one for those in children.values() for one in those)
    for child in children:
        sums.replace(child, ())
    assert sums.rows() == ()
