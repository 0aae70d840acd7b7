"""Spread constraints: groups are really used, and the skew holds."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.placement.policy import SCHEDULE_ANYWAY, Division, Policy, Spread
from arbora_hub.placement.snapshot import Snapshot
from arbora_hub.placement.spreading import pick
from tests.unit.placement.fleet import ask, member, place, pods


def zones(**free: list[list[int]]) -> Snapshot:
    return Snapshot(
        member(f"{zone}{index}", nodes, labels={"zone": zone})
        for zone, members in free.items()
        for index, nodes in enumerate(members)
    )


def by_zone(assignments: tuple[tuple[str, int], ...]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for child, replicas in assignments:
        total[child[0]] += replicas
    return dict(total)


def divided(*spread: Spread, mode: str = "available", **more: object) -> Policy:
    return Policy(division=Division(mode), spread=spread, **more)  # type: ignore[arg-type]


def test_replicas_stay_within_the_skew() -> None:
    snapshot = zones(a=[[8, 8]], b=[[8], [4]], c=[[2]])
    decision = place(ask(pods(8), divided(Spread("zone"))), snapshot)
    assert by_zone(decision.assignments) == {"a": 3, "b": 3, "c": 2}


def test_a_full_group_holds_the_others_back() -> None:
    snapshot = zones(a=[[8]], b=[[8]], c=[[1]])
    decision = place(ask(pods(9), divided(Spread("zone"))), snapshot)
    assert by_zone(decision.assignments) == {"a": 2, "b": 2, "c": 1}
    assert decision.pending == 4
    assert "the spread allows no more" in decision.sentence
    anyway = place(ask(pods(9), divided(Spread("zone", when_unsatisfiable=SCHEDULE_ANYWAY))), snapshot)
    assert anyway.pending == 0


def test_at_most_two_groups_are_used_and_they_hold_everything() -> None:
    snapshot = zones(a=[[4]], b=[[8]], c=[[8]], d=[[1]])
    decision = place(ask(pods(12), divided(Spread("zone", max_skew=4, max_groups=2))), snapshot)
    assert by_zone(decision.assignments).keys() == {"b", "c"}
    assert decision.pending == 0


def test_at_least_three_groups_really_get_some() -> None:
    snapshot = zones(a=[[8] * 10], b=[[1]], c=[[1]])
    decision = place(ask(pods(5), divided(Spread("zone", max_skew=9, min_groups=3))), snapshot)
    assert by_zone(decision.assignments) == {"a": 3, "b": 1, "c": 1}


def test_too_few_groups_place_nothing_and_say_so() -> None:
    policy = divided(Spread("zone", min_groups=3))
    decision = place(ask(pods(6), policy), zones(a=[[8]], b=[[8]]))
    assert (decision.assignments, decision.pending) == ((), 6)
    assert "2 values of zone can take it, and 3 are asked for" in decision.sentence
    assert place(ask(pods(2), policy), zones(a=[[8]], b=[[8]], c=[[8]])).assignments == ()


def test_whole_copies_are_spread_over_children_of_different_groups() -> None:
    snapshot = zones(a=[[8], [8], [8]], b=[[8]], c=[[8]])
    three = place(ask(pods(1, 8), Policy(clusters=3, spread=(Spread("zone"),))), snapshot)
    assert by_zone(three.assignments) == {"a": 1, "b": 1, "c": 1}
    every = place(ask(pods(1, 8), Policy(spread=(Spread("zone"),))), snapshot)
    assert by_zone(every.assignments) == {"a": 2, "b": 1, "c": 1}


def test_a_child_without_the_label_is_left_out() -> None:
    snapshot = Snapshot([member("a1", [8], labels={"zone": "a"}), member("x", [8])])
    decision = place(ask(pods(2), divided(Spread("zone"))), snapshot)
    assert decision.assignments == (("a1", 2),)
    assert decision.explanation.counts == (("NO_SPREAD_LABEL", 1),)


def test_levels_of_the_tree_are_groups() -> None:
    paths = {"a1": "/eu/paris/a1", "a2": "/eu/rome/a2", "b1": "/us/b1"}
    snapshot = Snapshot(member(name, [8], path=path) for name, path in paths.items())
    decision = place(ask(pods(4), divided(Spread("level/1"))), snapshot)
    assert by_zone(decision.assignments) == {"a": 2, "b": 2}


def test_two_constraints_hold_at_once() -> None:
    snapshot = Snapshot(
        member(f"{zone}{vendor}{index}", [8], labels={"zone": zone, "vendor": vendor})
        for zone, vendor, index in (("a", "x", 0), ("a", "y", 0), ("b", "x", 0), ("b", "x", 1))
    )
    decision = place(ask(pods(8), divided(Spread("zone"), Spread("vendor"))), snapshot)
    zone, vendor = by_zone(decision.assignments), Counter[str]()
    for child, replicas in decision.assignments:
        vendor[child[1]] += replicas
    assert abs(zone["a"] - zone["b"]) <= 1
    assert abs(vendor["x"] - vendor["y"]) <= 1
    assert sum(vendor.values()) == 8 - decision.pending >= 5


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(1, 8), min_size=1, max_size=3), min_size=1),
    st.integers(1, 30),
    st.integers(1, 3),
    st.sampled_from(["available", "spread", "pack"]),
)
def test_the_skew_holds_and_all_that_it_allows_is_placed(
    free: dict[str, list[int]], replicas: int, skew: int, mode: str
) -> None:
    snapshot = zones(**{zone: [[each] for each in members] for zone, members in free.items()})
    decision = place(ask(pods(replicas), divided(Spread("zone", skew), mode=mode)), snapshot)
    total = {zone: by_zone(decision.assignments).get(zone, 0) for zone in free}
    assert max(total.values()) - min(total.values()) <= skew
    ceiling = min(map(sum, free.values())) + skew
    possible = sum(min(sum(members), ceiling) for members in free.values())
    assert decision.pending == max(0, replicas - possible)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 8), st.integers(0, 40))
def test_a_choice_that_is_possible_is_found(room: list[int], count: int, target: int) -> None:
    chosen = pick(room, count, target)
    assert len(chosen) == len(set(chosen)) == min(count, len(room))
    most = sum(sorted(room, reverse=True)[:count])
    assert sum(room[each] for each in chosen) >= min(target, most)
