"""When a NoExecute taint drives work out: at once, after the seconds of a toleration, or never."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.placement.filters.taints import next_eviction, tolerates
from arbora_hub.placement.policy import AffinityGroup, Division, Policy, Toleration
from arbora_hub.placement.rows import Taint
from arbora_hub.placement.snapshot import Snapshot
from tests.unit.placement.fleet import ask, member, place, pods

ADDED = 100.0
DOWN = Taint("down", "NoExecute", added=ADDED)
HOT = Taint("hot", "NoExecute", "very", added=ADDED + 5.0)


def tolerated(seconds: float | None, key: str = "down", **more: str) -> Toleration:
    return Toleration(key, "Exists", seconds=seconds, **{"effect": "NoExecute", **more})


@pytest.mark.parametrize(
    ("taints", "tolerations", "moment"),
    [
        ((), (), None),
        ((Taint("gpu", "NoSchedule", added=ADDED),), (), None),
        ((Taint("gpu", "PreferNoSchedule", added=ADDED),), (), None),
        ((DOWN,), (tolerated(None),), None),
        ((DOWN,), (tolerated(30.0),), 130.0),
        ((DOWN,), (tolerated(None), tolerated(30.0)), 130.0),
        ((DOWN,), (tolerated(30.0), tolerated(60.0, key="")), 130.0),
        ((DOWN, HOT), (tolerated(30.0), tolerated(10.0, "hot")), 115.0),
        ((DOWN, HOT), (tolerated(30.0, key=""),), 130.0),
        ((DOWN,), (), 101.0),
        ((DOWN,), (tolerated(30.0, "hot"),), 101.0),
        ((DOWN, HOT), (tolerated(30.0),), 101.0),
        ((HOT,), (Toleration("hot", "Equal", "little", "NoExecute", 30.0),), 101.0),
        ((DOWN,), (tolerated(0.0),), 101.0),
        ((DOWN,), (tolerated(-5.0),), 101.0),
        ((DOWN,), (tolerated(0.5),), 101.0),
    ],
    ids=[
        "no taints",
        "NoSchedule drives nothing out",
        "PreferNoSchedule drives nothing out",
        "for ever",
        "for a while",
        "the shortest counts beside one for ever",
        "the shortest counts",
        "the first of two taints",
        "one toleration for two taints",
        "not tolerated",
        "another key is tolerated",
        "one of two is not tolerated",
        "another value is tolerated",
        "0 s",
        "below 0 s",
        "over already",
    ],
)
def test_work_leaves_when_the_first_taint_is_tolerated_no_longer(
    taints: tuple[Taint, ...], tolerations: tuple[Toleration, ...], moment: float | None
) -> None:
    assert next_eviction(taints, tolerations, 101.0) == moment


def test_a_clock_that_was_set_back_saves_nobody_whom_nothing_tolerates() -> None:
    assert next_eviction((DOWN,), (), 50.0) == 50.0
    assert next_eviction((DOWN,), (tolerated(0.0),), 50.0) == 50.0


TAINTS = st.lists(
    st.builds(
        Taint,
        st.sampled_from(["down", "hot"]),
        st.sampled_from(["NoExecute", "NoExecute", "NoSchedule"]),
        st.sampled_from(["", "very"]),
        st.floats(0.0, 2e9),
    ),
    max_size=3,
)
TOLERATIONS = st.lists(
    st.builds(
        Toleration,
        st.sampled_from(["down", "hot"]),
        st.sampled_from(["Equal", "Exists"]),
        st.sampled_from(["", "very"]),
        st.just("NoExecute"),
        st.none() | st.floats(-10.0, 1e6),
    ),
    max_size=4,
).map(tuple)


@given(TAINTS, TOLERATIONS, st.floats(0.0, 2e9))
def test_the_moment_is_the_first_end_over_all_taints_and_what_matches_them(
    taints: list[Taint], tolerations: tuple[Toleration, ...], now: float
) -> None:
    ends = []
    for taint in taints:
        if taint.effect == "NoExecute":
            matching = [one for one in tolerations if tolerates(one, taint)]
            spans = [math.inf if one.seconds is None else one.seconds for one in matching]
            ends.append(now if not spans or min(spans) <= 0 else max(now, taint.added + min(spans)))
    finite = [end for end in ends if end < math.inf]
    assert next_eviction(taints, tolerations, now) == (min(finite) if finite else None)


@given(TAINTS, TOLERATIONS, st.floats(0.0, 2e9))
def test_a_decision_lets_work_stay_until_exactly_that_moment(
    taints: list[Taint], tolerations: tuple[Toleration, ...], now: float
) -> None:
    there = Snapshot([member("a", [8], taints=tuple(taints))])
    request = ask(pods(1), Policy(tolerations=tolerations))
    moment = next_eviction(taints, tolerations, now)
    stays = place(request, there, {"a": 1}, now=now).assignments == (("a", 1),)
    assert stays == (moment is None or moment > now)
    if moment is not None:
        assert place(request, there, {"a": 1}, now=moment).assignments == ()
        if moment > now:
            just_before = math.nextafter(moment, -math.inf)
            assert place(request, there, {"a": 1}, now=just_before).assignments == (("a", 1),)


def test_new_work_is_let_in_while_it_is_tolerated_and_no_more_after_that() -> None:
    there = Snapshot([member("a", [8], taints=(DOWN,))])
    request = ask(pods(1), Policy(tolerations=(tolerated(30.0),)))
    assert place(request, there, now=129.0).assignments == (("a", 1),)
    assert place(request, there, now=130.0).assignments == ()


def test_a_taint_drives_work_out_of_a_group_even_if_the_others_are_too_small() -> None:
    tainted = member("a", [8], taints=(Taint("gone", "NoExecute"),))
    snapshot = Snapshot([tainted, member("b", [2])])
    groups = (AffinityGroup("first", ("a",)), AffinityGroup("second", ("b",)))
    policy = Policy(groups=groups, overflow=True, division=Division(partial=False))
    decision = place(ask(pods(8), policy), snapshot, {"a": 8})
    assert (decision.assignments, decision.pending) == ((), 8)
