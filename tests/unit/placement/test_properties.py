"""Properties of every decision, and a brute-force oracle on small fleets."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.policy import Division, Policy, Request, Spread, StaticWeight
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row
from arbora_hub.placement.snapshot import Snapshot
from tests.unit.placement.fleet import A100, ask, member, place, pods, row

nodes = st.lists(st.sampled_from([0, 1, 2, 3, 4, 8]), min_size=1, max_size=4)
children = st.lists(
    st.builds(
        lambda free, second, zone, price: (free, second, zone, price),
        nodes,
        st.none() | nodes,
        st.sampled_from("abc"),
        st.none() | st.floats(0, 9),
    ),
    min_size=1,
    max_size=6,
)
modes = st.sampled_from(["duplicate", "weighted", "available", "pack", "spread"])
requests = st.builds(
    lambda mode, replicas, gpus, gang, split, clusters, minimum, spread, partial: Request(
        "uid",
        Policy(
            clusters=clusters,
            minimum=min(minimum, clusters or minimum),
            spread=(Spread("zone", 2),) if spread else (),
            division=None
            if mode == "duplicate"
            else Division(mode, (StaticWeight(2, "m1"), StaticWeight(1)) if mode == "weighted" else (), partial),
        ),
        pods(replicas, gpus, gang=gang, splittable=split),
    ),
    modes,
    st.integers(0, 20),
    st.sampled_from([0, 1, 2, 3, 8]),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 4),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
Child = tuple[list[int], list[int] | None, str, float | None]


def built(each: list[Child]) -> list[tuple[Place, list[Row]]]:
    return [
        (
            Place(f"m{index}", labels={"zone": zone}),
            [row(free, price=price), *([row(second, A100)] if second else [])],
        )
        for index, (free, second, zone, price) in enumerate(each)
    ]


def room(one: tuple[Place, list[Row]], size: int) -> int:
    return sum(each.sketch.fit(size) for each in one[1]) if size else 10**9


@given(children, requests)
def test_a_decision_is_the_same_for_children_in_any_order(each: list[Child], request: Request) -> None:
    made = built(each)
    forward, back = Snapshot(made), Snapshot(reversed(made))
    for name, rows in ((made[0][0], made[0][1]), (Place("gone"), [])):
        back.replace(name, rows)
    back.remove("gone")
    one, two = place(request, forward, top=None), place(request, back, top=None)
    assert one == two
    assert json.dumps(one.explanation.data()) == json.dumps(two.explanation.data())
    assert place(request, forward, top=None) == one


@given(children, requests)
def test_nothing_is_placed_above_capacity_and_sums_match(each: list[Child], request: Request) -> None:
    made = built(each)
    decision = place(request, Snapshot(made))
    demand, size = request.demand, request.demand.groups[0].gpus_per_pod
    capacity = {one[0].name: room(one, size) for one in made}
    assert all(replicas <= capacity[child] for child, replicas in decision.assignments)
    placed = sum(replicas for _, replicas in decision.assignments)
    if request.policy.mode == "duplicate":
        assert all(replicas == demand.replicas for _, replicas in decision.assignments)
    else:
        assert placed + decision.pending == demand.replicas
    if demand.gang and not demand.splittable:
        assert all(replicas == demand.replicas for _, replicas in decision.assignments)
    if demand.gang:
        assert placed == 0 or placed >= demand.replicas
    if request.policy.clusters is not None:
        assert len(decision.assignments) <= request.policy.clusters
    if decision.pending:
        assert decision.reasons
        assert decision.wake


@given(children, requests)
def test_deciding_again_on_what_was_decided_changes_nothing(each: list[Child], request: Request) -> None:
    snapshot, held = Snapshot(built(each)), Reservations()
    first = place(request, snapshot, reservations=held)
    held.hold(request.uid, request.demand, first.added, 0.0)
    again = place(request, snapshot, dict(first.assignments), held)
    assert (again.assignments, again.pending, again.added) == (first.assignments, first.pending, ())


@given(children, requests, st.integers(1, 5))
def test_more_replicas_take_nothing_away(each: list[Child], request: Request, more: int) -> None:
    snapshot, held = Snapshot(built(each)), Reservations()
    first = place(request, snapshot, reservations=held)
    held.hold(request.uid, request.demand, first.added, 0.0)
    group = request.demand.groups[0]
    grown = replace(
        request, demand=replace(request.demand, groups=(replace(group, replicas=group.replicas + more),))
    )
    second = dict(place(grown, snapshot, dict(first.assignments), held).assignments)
    assert all(second.get(child, 0) >= replicas for child, replicas in first.assignments)


@given(children, st.integers(0, 20), st.sampled_from(["weighted", "available", "spread"]))
def test_one_replica_more_never_takes_one_away_elsewhere(each: list[Child], replicas: int, mode: str) -> None:
    policy = Policy(
        division=Division(mode, (StaticWeight(3, "m0"), StaticWeight(1)) if mode == "weighted" else ())
    )
    snapshot = Snapshot(built(each))
    fewer = dict(place(ask(pods(replicas), policy), snapshot).assignments)
    more = dict(place(ask(pods(replicas + 1), policy), snapshot).assignments)
    if replicas:
        assert all(more[child] >= count for child, count in fewer.items())


@given(children, st.integers(1, 12), st.sampled_from([1, 2, 8]), st.integers(1, 3))
def test_a_burst_never_exceeds_what_is_free(each: list[Child], jobs: int, size: int, count: int) -> None:
    made = built(each)
    snapshot, held = Snapshot(made), Reservations()
    given_: dict[str, int] = {}
    demand, placed = pods(count, size), 0
    for number in range(jobs):
        decision = place(ask(demand, uid=f"job-{number}"), snapshot, reservations=held)
        held.hold(f"job-{number}", demand, decision.added, 0.0)
        for child, replicas in decision.assignments:
            given_[child] = given_.get(child, 0) + replicas
            placed += replicas
    capacity = {one[0].name: room(one, size) for one in made}
    assert all(replicas <= capacity[child] for child, replicas in given_.items())
    assert placed == min(jobs * count, sum(capacity.values()))


# the oracle


def packs(free: list[int], sizes: list[int]) -> bool:
    """Whether pods of these sizes fit the nodes, by trying everything."""
    if not sizes:
        return True
    for index in {each: number for number, each in enumerate(free) if each >= sizes[0]}.values():
        free[index] -= sizes[0]
        fits = packs(free, sizes[1:])
        free[index] += sizes[0]
        if fits:
            return True
    return False


small = st.lists(st.lists(st.sampled_from([0, 1, 2, 4, 8]), min_size=1, max_size=3), min_size=1, max_size=4)


@given(small, st.integers(1, 4), st.sampled_from([1, 2, 4, 8]), st.integers(0, 3), st.sampled_from([1, 2, 4]))
@settings(max_examples=200)
def test_a_gang_of_two_kinds_is_placed_exactly_when_it_fits_somewhere(
    each: list[list[int]], first: int, size: int, second: int, other: int
) -> None:
    demand = Demand((PodGroup("a", first, size, GpuWish()), PodGroup("b", second, other, GpuWish())), gang=True)
    snapshot = Snapshot(member(f"m{index}", free) for index, free in enumerate(each))
    sizes = sorted([size] * first + [other] * second, reverse=True)
    possible = {f"m{index}" for index, free in enumerate(each) if packs(list(free), sizes)}
    decision = place(ask(demand), snapshot)
    assert {child for child, _ in decision.assignments} <= possible
    assert bool(decision.assignments) == bool(possible)


@given(small, st.integers(1, 12), st.sampled_from([1, 2, 4]), st.none() | st.integers(1, 3))
@settings(max_examples=200)
def test_pack_uses_as_few_children_as_is_possible(
    each: list[list[int]], replicas: int, size: int, clusters: int | None
) -> None:
    snapshot = Snapshot(member(f"m{index}", free) for index, free in enumerate(each))
    capacity = [sum(node // size for node in free) for free in each]
    sets = [
        chosen
        for count in range(1, min(len(each), clusters or len(each)) + 1)
        for chosen in itertools.combinations(capacity, count)
        if sum(chosen) >= replicas
    ]
    policy = Policy(clusters=clusters, division=Division("pack", partial=False))
    decision = place(ask(pods(replicas, size), policy), snapshot)
    assert (decision.pending == 0) == bool(sets)
    if sets:
        assert len(decision.assignments) == min(map(len, sets))
