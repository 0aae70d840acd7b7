"""Child hubs in a decision: several places, one answer for the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arbora.capacity.sketch import merge
from arbora.manifests.selectors import parse_selector
from arbora_hub.placement.decide import decide
from arbora_hub.placement.policy import Policy
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row
from arbora_hub.placement.snapshot import Snapshot
from tests.unit.placement.fleet import DIVIDED, ask, member, pods, row

NOTHING = Reservations()
US = member("us", [8])


def hub_place(hub: str, members: Sequence[Sequence[int]], **labels: str) -> tuple[Place, list[Row]]:
    """Equal members below a hub, as their rows added up."""
    rows = [row(free) for free in members]
    total = merge(each.sketch for each in rows)
    title = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return Place(f"{hub}#{title}", labels=labels), [replace(rows[0], sketch=total)]


def test_what_the_places_of_a_hub_get_is_the_hubs() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8]], zone="a"), hub_place("eu", [[8]], zone="b")])
    decision = decide(ask(pods(3, 8)), snapshot, {}, NOTHING, 0.0)
    assert decision.assignments == (("eu", 3),)
    assert sorted(count for _place, count in decision.added) == [1, 2]
    assert decision.pending == 0


def test_a_selector_means_some_of_a_hubs_members() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8]], zone="a"), hub_place("eu", [[8]], zone="b")])
    policy = replace(DIVIDED, selector=parse_selector("zone=b"))
    decision = decide(ask(pods(3, 8), policy), snapshot, {}, NOTHING, 0.0)
    assert (decision.assignments, decision.pending) == ((("eu", 1),), 2)


def test_a_hub_that_is_listed_is_meant_with_all_its_places() -> None:
    snapshot = Snapshot(
        [hub_place("eu", [[8]], zone="a"), hub_place("eu", [[8]], zone="b"), member("us", [8, 8])]
    )
    policy = replace(DIVIDED, members=("eu",))
    decision = decide(ask(pods(4, 8), policy), snapshot, {}, NOTHING, 0.0)
    assert (decision.assignments, decision.pending) == ((("eu", 2),), 2)


def test_what_a_hub_has_stays_and_only_the_rest_is_divided() -> None:
    snapshot = Snapshot(
        [hub_place("eu", [[4], [4]], zone="a"), hub_place("eu", [[8]], zone="b"), member("us", [8])]
    )
    decision = decide(ask(pods(6, 4)), snapshot, {"eu": 5}, NOTHING, 0.0)
    assert sum(count for _, count in decision.assignments) == 6
    assert dict(decision.assignments)["eu"] >= 5
    assert sum(count for _, count in decision.added) == 1


def test_what_a_hub_has_stays_as_long_as_any_of_its_places_may_keep_it() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8], [8]], zone="a"), hub_place("eu", [[8]], zone="b")])
    policy = replace(DIVIDED, selector=parse_selector("zone=b"))
    decision = decide(ask(pods(1, 8), policy), snapshot, {"eu": 1}, NOTHING, 0.0)
    assert (decision.assignments, decision.added) == ((("eu", 1),), ())


def test_a_hub_gets_no_more_than_it_said_it_could_place() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8]], zone="a"), member("us", [0, 0])])
    request = replace(ask(pods(4, 8)), caps={"eu": 1})
    decision = decide(request, snapshot, {"eu": 2, "us": 2}, NOTHING, 0.0)
    assert (dict(decision.assignments), decision.pending) == ({"eu": 1, "us": 2}, 1)


def test_a_hub_that_could_place_nothing_loses_it() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8]], zone="a"), member("us", [8])])
    gang = pods(2, 4, gang=True)
    decision = decide(replace(ask(gang), caps={"eu": 0}), snapshot, {"eu": 2}, NOTHING, 0.0)
    assert decision.assignments == (("us", 2),)


def test_a_gang_goes_to_a_hub_only_if_one_member_below_takes_all_of_it() -> None:
    scattered = Snapshot([hub_place("eu", [[4], [4]])])
    together = Snapshot([hub_place("eu", [[4, 4], [0]])])
    gang = pods(2, 4, gang=True)
    assert decide(ask(gang), scattered, {}, NOTHING, 0.0).assignments == ()
    assert decide(ask(gang), together, {}, NOTHING, 0.0).assignments == (("eu", 2),)


def test_copies_are_counted_where_members_are_limited() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8], [8]], zone="a"), member("us", [8])])
    policy = Policy(clusters=3)
    decision = decide(ask(pods(1, 8), policy), snapshot, {}, NOTHING, 0.0)
    assert decision.assignments == (("eu", 1), ("us", 1))
    assert decision.copies == (("eu", 2),)
    assert decision.pending == 0


def test_reservations_at_a_place_outlive_the_place() -> None:
    snapshot, held = Snapshot([hub_place("eu", [[8], [8]], zone="a")]), Reservations()
    request = ask(pods(2, 8))
    held.hold("uid", request.demand, decide(request, snapshot, {}, held, 0.0).added, 0.0)
    snapshot.remove("eu#zone=a")
    place, rows = hub_place("eu", [[8], [8]], zone="b")
    snapshot.replace(place, rows)
    assert decide(ask(pods(2, 8), uid="other"), snapshot, {}, held, 0.0).pending == 2
    assert held.clear("uid", "eu")
    assert decide(ask(pods(2, 8), uid="other"), snapshot, {}, held, 0.0).pending == 0


FREE = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=3), min_size=1, max_size=4)


@given(trees=st.lists(FREE, min_size=1, max_size=3), size=st.sampled_from((1, 2, 4, 8)), count=st.integers(1, 30))
def test_a_tree_of_exact_classes_places_as_many_as_one_flat_hub(
    trees: list[list[list[int]]], size: int, count: int
) -> None:
    """The root divides over hubs, each hub over its members: together as many as one hub with all of them."""
    flat = Snapshot(
        member(f"m{hub}-{number}", free)
        for hub, members in enumerate(trees)
        for number, free in enumerate(members)
    )
    above = Snapshot(hub_place(f"hub{hub}", members) for hub, members in enumerate(trees))
    wanted = ask(pods(count, size))
    expected = decide(wanted, flat, {}, NOTHING, 0.0)
    root = decide(wanted, above, {}, NOTHING, 0.0)
    placed = 0
    for name, budget in root.assignments:
        members = trees[int(name.removeprefix("hub"))]
        below = Snapshot(member(f"m{number}", free) for number, free in enumerate(members))
        decision = decide(ask(pods(budget, size)), below, {}, NOTHING, 0.0)
        assert decision.pending == 0, "a hub can place what its rows promised"
        placed += sum(replicas for _, replicas in decision.assignments)
    assert placed == count - expected.pending
    assert root.pending == expected.pending


@given(trees=st.lists(FREE, min_size=1, max_size=3), count=st.integers(1, 30))
def test_deciding_again_changes_nothing(trees: list[list[list[int]]], count: int) -> None:
    above = Snapshot(hub_place(f"hub{hub}", members) for hub, members in enumerate(trees))
    once = decide(ask(pods(count, 2)), above, {}, NOTHING, 0.0)
    again = decide(ask(pods(count, 2)), above, dict(once.assignments), NOTHING, 0.0)
    assert dict(again.assignments).keys() >= dict(once.assignments).keys()
    assert all(dict(again.assignments)[child] >= replicas for child, replicas in once.assignments)


def test_members_are_limited_over_the_whole_tree_where_replicas_are_divided() -> None:
    snapshot = Snapshot([hub_place("eu", [[8], [8], [8]]), hub_place("us", [[8], [8]])])
    decision = decide(ask(pods(4, 8), replace(DIVIDED, clusters=3)), snapshot, {}, NOTHING, 0.0)
    assert sum(count for _, count in decision.copies) == 3
    assert dict(decision.copies).keys() == dict(decision.assignments).keys()


def test_a_hub_that_has_not_heard_of_its_members_yet_loses_nothing() -> None:
    policy = replace(DIVIDED, selector=parse_selector("zone=a"))
    for rows in ([], [row([8])]):
        started = Snapshot([(Place("eu" if not rows else "eu#zone=b", labels={"zone": "b"}, hub=True), rows)])
        decision = decide(ask(pods(2, 8), policy), started, {"eu": 2}, NOTHING, 0.0)
        assert decision.assignments == (("eu", 2),)
    listed = replace(DIVIDED, members=("us",))
    decision = decide(ask(pods(2, 8), listed), Snapshot([(Place("eu", hub=True), [])]), {"eu": 2}, NOTHING, 0.0)
    assert decision.assignments == (), "by name it is not meant any more"
