"""What a hub makes of its children: rows, counts, lines, and who is left out because it stands elsewhere too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from arbora.capacity.aggregate import NO_GPUS, TreeRow, add_up, to_wire
from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.v1 import enrollment_pb2, member_pb2
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.store.rows import TaintRow
from arbora_hub.tree.fencing import Fenced, fence, fence_lines
from arbora_hub.tree.subtree import (
    Branch,
    lines_below,
    rows_below,
    seen_through,
    status_below,
    stepped_age,
)

H100 = GpuClass("nvidia", "H100")
ONLINE, SUSPECT, LOST, JOINING = Liveness.ONLINE, Liveness.SUSPECT, Liveness.LOST, Liveness.JOINING
SPOT = TaintRow("spot", "yes", "NoSchedule", 5.0)


def gpus(*free: int) -> dict[str, member_pb2.Sketch]:
    row = sketch([NodeGpus("n", H100, 8, 8, 8 - each) for each in free], {})[H100]
    return {"sketch/h": sketch_to_wire(H100, row)}


def agent(
    name: str,
    *free: int,
    liveness: Liveness = ONLINE,
    labels: Mapping[str, str] | None = None,
    taints: tuple[TaintRow, ...] = (),
    cordoned: bool = False,
    restored: bool = False,
    age: float = 0.0,
    uid: str = "",
    session: int = 1,
) -> Branch:
    return Branch(
        name,
        "agent",
        uid,
        labels or {},
        taints,
        cordoned,
        session_epoch=session,
        liveness=liveness,
        restored=restored,
        age=age,
        sketches=gpus(*free) if free else {},
    )


def hub(
    name: str,
    children: Sequence[Branch] = (),
    *,
    liveness: Liveness = ONLINE,
    labels: Mapping[str, str] | None = None,
    taints: tuple[TaintRow, ...] = (),
    age: float = 0.0,
    epoch: int = 1,
    uid: str = "",
    lines: bool = True,
) -> Branch:
    """What the parent of a hub with these children sees of it."""
    return Branch(
        name,
        "hub",
        uid or f"id-{name}",
        labels or {},
        taints,
        liveness=liveness,
        age=age,
        sketches=to_wire(rows_below(children, {})),
        subtree=status_below(children, uid or f"id-{name}", epoch, lines=lines),
        lines=lines_below(children) if lines else {},
    )


def one(rows: Sequence[TreeRow]) -> TreeRow:
    (row,) = rows
    return row


def test_a_member_has_its_own_labels_over_inherited_ones_and_its_taints() -> None:
    row = one(
        rows_below(
            [agent("a", 8, labels={"zone": "z", "team": "t"}, taints=(SPOT,))], {"zone": "eu", "fleet": "f"}
        )
    )
    assert row.labels == (("fleet", "f"), ("team", "t"), ("zone", "z"))
    assert row.taints == (("spot", "yes", "NoSchedule"),)
    assert (row.row.free, row.stale) == (8, False)


def test_what_a_hub_sends_has_the_labels_of_the_hub_beneath_its_own() -> None:
    below = [agent("a", 8, labels={"zone": "paris-1"}), agent("b", 4)]
    rows = rows_below([hub("paris", below, labels={"zone": "paris", "country": "fr"}, taints=(SPOT,))], {})
    assert [(row.labels, row.row.free) for row in rows] == [
        ((("country", "fr"), ("zone", "paris")), 4),
        ((("country", "fr"), ("zone", "paris-1")), 8),
    ]
    assert all(row.taints == (("spot", "yes", "NoSchedule"),) for row in rows)


@pytest.mark.parametrize(
    "silent", [agent("a", 8, 5, liveness=LOST, age=90.0), agent("a", 8, 5, restored=True, age=90.0)]
)
def test_a_member_that_is_not_heard_of_is_shown_and_not_counted_as_free(silent: Branch) -> None:
    stale, fresh = sorted(rows_below([silent, agent("b", 8)], {}), key=lambda row: row.row.free)
    assert (stale.stale, stale.row.total, stale.row.free, stale.worst_age) == (True, 16, 0, 90.0)
    assert (fresh.stale, fresh.row.free, fresh.worst_age) == (False, 8, 0.0)


def test_below_a_hub_that_is_not_heard_of_nothing_is_free_and_the_worst_age_is_kept() -> None:
    below = [agent("a", 8), agent("b", 8, liveness=LOST, age=500.0)]
    row = one(rows_below([hub("paris", below, liveness=SUSPECT, age=30.0)], {}))
    assert (row.stale, row.row.total, row.row.free, row.worst_age) == (True, 16, 0, 500.0)


def test_what_is_free_on_a_cordoned_member_is_unusable() -> None:
    row = one(rows_below([agent("a", 8, 3, cordoned=True)], {})).row
    assert (row.total, row.allocatable, row.used, row.free, row.unusable) == (16, 5, 5, 0, 11)
    assert row.fit(1) == row.best_fit(1) == 0


def test_a_sketch_that_cannot_be_read_counts_as_not_there() -> None:
    broken = Branch("a", sketches={"sketch/x": member_pb2.Sketch()})
    without = Branch("a")
    assert rows_below([broken, agent("b", 8)], {}) == rows_below([without, agent("b", 8)], {})


def test_members_without_gpus_are_rows_too_so_that_labels_can_select_them() -> None:
    rows = rows_below([Branch("a", labels={"zone": "a"}), Branch("b", labels={"zone": "a"})], {})
    assert [(row.gpu_class, row.labels, row.row.members) for row in rows] == [(NO_GPUS, (("zone", "a"),), 2)]
    assert rows_below([Branch("a", cordoned=True), Branch("b", liveness=LOST)], {}) == ()


def test_a_tree_shows_the_same_devices_as_one_flat_hub() -> None:
    flat = [agent(f"a{n}", *[n % 9] * 3, labels={"zone": f"z{n % 3}"}) for n in range(12)]
    regions = [hub(f"r{n}", [hub("site", flat[3 * n : 3 * n + 2]), flat[3 * n + 2]]) for n in range(4)]
    assert rows_below(regions, {}) == rows_below(flat, {})


def test_counts_are_of_agents_at_any_depth() -> None:
    site = hub("site", [agent("a"), agent("b", liveness=LOST), agent("c", liveness=JOINING)])
    status = status_below(
        [hub("paris", [site, agent("d")]), agent("e", liveness=SUSPECT)], "id-eu", 7, lines=True
    )
    assert (status.hub_id, status.placement_epoch, status.lines) == ("id-eu", 7, True)
    assert list(status.hubs) == ["id-paris", "id-site"]
    assert (status.members, status.members_online, status.members_suspect) == (5, 2, 1)
    assert (status.members_lost, status.members_joining) == (1, 1)


@pytest.mark.parametrize(("liveness", "suspect", "lost"), [(SUSPECT, 2, 1), (LOST, 0, 3)])
def test_below_a_hub_that_is_not_present_nobody_is_online(liveness: Liveness, suspect: int, lost: int) -> None:
    below = [agent("a"), agent("b", liveness=SUSPECT), agent("c", liveness=LOST), agent("d", liveness=JOINING)]
    status = status_below([hub("paris", below, liveness=liveness)], "id", 1, lines=False)
    assert (status.members, status.members_online) == (4, 0)
    assert (status.members_suspect, status.members_lost, status.members_joining) == (suspect, lost, 1)


def test_a_hub_that_is_not_online_is_no_longer_named_as_it_may_stand_elsewhere() -> None:
    away = hub("paris", [hub("site")], liveness=LOST)
    assert list(status_below([away, hub("rome", [hub("port")])], "id", 1, lines=False).hubs) == [
        "id-port",
        "id-rome",
    ]


def test_each_member_below_has_a_line_by_its_path_from_here() -> None:
    site = hub("site", [agent("a", 8, 3, labels={"zone": "z"}, taints=(SPOT,), uid="uid-a")])
    lines = lines_below([hub("paris", [site])])
    assert sorted(lines) == ["paris", "paris/site", "paris/site/a"]
    line = lines["paris/site/a"]
    assert (line.path, line.liveness, line.cluster_uid) == ("paris/site/a", member_pb2.LIVENESS_ONLINE, "uid-a")
    assert (dict(line.labels), line.taints[0].key, line.taints[0].added.seconds) == ({"zone": "z"}, "spot", 5)
    assert [(one.total, one.free) for one in line.gpus] == [(16, 11)]
    assert lines["paris"].kind == enrollment_pb2.CHILD_KIND_HUB
    assert [(one.total, one.free) for one in lines["paris"].gpus] == [(16, 11)]


def test_the_line_of_a_member_below_a_lost_hub_says_lost_and_nothing_free() -> None:
    lines = lines_below([hub("paris", [agent("a", 8), agent("b", liveness=JOINING)], liveness=LOST)])
    assert lines["paris/a"].liveness == member_pb2.LIVENESS_LOST
    assert [(one.total, one.free) for one in lines["paris/a"].gpus] == [(8, 0)]
    assert lines["paris/b"].liveness == member_pb2.LIVENESS_JOINING


def test_a_line_deeper_than_a_path_may_be_is_left_out() -> None:
    deep = Branch(
        "h",
        "hub",
        lines={"/".join("x" * 15): member_pb2.MemberLine(), "/".join("x" * 16): member_pb2.MemberLine()},
    )
    assert [path.count("/") for path in lines_below([deep])] == [0, 15]


@pytest.mark.parametrize(
    ("hub_is", "below", "seen"),
    [
        (ONLINE, SUSPECT, SUSPECT),
        (SUSPECT, ONLINE, SUSPECT),
        (SUSPECT, LOST, LOST),
        (LOST, ONLINE, LOST),
        (LOST, JOINING, JOINING),
        (JOINING, ONLINE, SUSPECT),
    ],
)
def test_a_member_is_no_more_present_than_the_hub_between(
    hub_is: Liveness, below: Liveness, seen: Liveness
) -> None:
    assert seen_through(hub_is, below) is seen


def test_an_age_grows_in_steps_that_grow_with_it() -> None:
    ages = [0, 9.9, 10, 19, 99, 100, 199, 999, 1000, 86_399]
    assert [stepped_age(age) for age in ages] == [0, 0, 10, 10, 90, 100, 100, 900, 1000, 80_000]


# in two places


def test_of_two_children_with_one_hub_the_newer_placement_counts() -> None:
    old, new = (
        hub("old", [agent("a", 8)], uid="x", epoch=3),
        hub("new", [agent("a", 8)], uid="x", epoch=4, liveness=SUSPECT),
    )
    made = fence([old, new])
    assert made.children == {"old"}
    assert made.fenced == {Fenced("old", "new", "x")}
    assert next(iter(made.fenced)).sentence == "x stands at new and at old; only new counts."
    assert status_below([old, new], "id", 1, lines=False, fence=made).members == 1
    assert one(rows_below([old, new], {}, made)).row.total == 8


def test_of_two_children_with_one_cluster_the_one_that_is_online_counts_and_then_the_newer_session() -> None:
    assert fence([agent("a", uid="u", liveness=LOST, session=9), agent("b", uid="u")]).children == {"a"}
    assert fence([agent("a", uid="u", session=2), agent("b", uid="u", session=5)]).children == {"a"}
    assert fence([agent("a", uid=""), agent("b", uid="")]).children == set()


def test_a_hub_that_left_a_region_that_is_cut_off_counts_where_it_is_now() -> None:
    region = hub("region", [hub("site", [agent("a", 8)]), agent("b", 8)], liveness=LOST)
    here = hub("site", [agent("a", 8)], epoch=2)
    made = fence([region, here]) | fence_lines([region, here])
    assert made.children == {"region"}
    assert one(rows_below([region, here], {}, made)).row.total == 8
    assert sorted(lines_below([region, here], made)) == ["region", "region/b", "site", "site/a"]


def test_a_hub_cannot_silence_another_by_naming_what_is_below_it() -> None:
    honest = hub("rome", [hub("port", [agent("a", 8)])])
    liar = hub("paris", [hub("copy", [agent("b", 8)], uid="id-port"), hub("fake", uid="id-rome")])
    made = fence([honest, liar])
    assert "rome" not in made.children
    assert Fenced("paris", "rome", "id-rome") in made.fenced


def test_a_hub_that_moves_between_two_regions_is_named_and_takes_none_of_them_away() -> None:
    both = [hub("east", [hub("site", [agent("a", 8)])]), hub("west", [hub("site", [agent("a", 8)])])]
    made = fence(both)
    assert made.children == set()
    assert made.fenced == {Fenced("west", "east", "id-site")}
    both[0] = hub("east", [hub("site", [agent("a", 8)])], liveness=SUSPECT)
    assert fence(both).children == {"east"}


def test_an_agent_that_moved_below_a_hub_is_no_longer_counted_here() -> None:
    children = [agent("a", 8, uid="u", liveness=LOST), hub("paris", [agent("a", 8, uid="u")])]
    made = fence_lines(children)
    assert made.children == {"a"}
    assert status_below(children, "id", 1, lines=False, fence=made).members == 1
    children[0] = agent("a", 8, uid="u")
    assert fence_lines(children).paths == {"paris/a"}
    assert "paris/a" not in lines_below(children, fence_lines(children))


def test_with_nothing_in_two_places_nothing_is_left_out() -> None:
    children = [hub("paris", [agent("a", 8, uid="u")]), agent("b", 8, uid="v")]
    assert not fence(children).fenced
    assert not fence_lines(children).fenced
    assert add_up(rows_below(children, {})) == rows_below(children, {})
