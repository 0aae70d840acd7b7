"""Moments at which time alone drives work out."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.workloads.departures import Departures


def test_a_moment_is_due_once_and_not_before() -> None:
    departures = Departures()
    assert (departures.next_moment(), departures.due(1e9)) == (math.inf, ())
    departures.expect("late", 30.0)
    departures.expect("early", 20.0)
    assert departures.next_moment() == 20.0
    assert departures.due(19.9) == ()
    assert departures.due(20.0) == ("early",)
    assert departures.next_moment() == 30.0
    assert departures.due(40.0) == ("late",)
    assert (departures.next_moment(), departures.due(1e9)) == (math.inf, ())


def test_a_new_moment_replaces_the_one_before_and_none_ends_it() -> None:
    departures = Departures()
    departures.expect("a", 10.0)
    departures.expect("a", 30.0)
    assert departures.due(10.0) == ()
    departures.expect("a", 20.0)
    departures.expect("a", 20.0)
    assert (departures.next_moment(), departures.due(25.0), departures.due(40.0)) == (20.0, ("a",), ())
    departures.expect("a", 50.0)
    departures.expect("a", None)
    assert (departures.next_moment(), departures.due(60.0)) == (math.inf, ())


UIDS = st.sampled_from("abc")
STEPS = st.lists(
    st.tuples(st.just("expect"), UIDS, st.none() | st.integers(0, 20))
    | st.tuples(st.just("due"), st.integers(0, 20)),
    max_size=80,
)


@given(STEPS)
def test_what_is_due_is_what_was_last_expected(steps: list[tuple[object, ...]]) -> None:
    departures, model = Departures(), dict[str, float]()
    for kind, *arguments in steps:
        if kind == "expect":
            uid, moment = arguments
            departures.expect(uid, moment)  # type: ignore[arg-type]
            model.pop(uid, None)  # type: ignore[call-overload]
            if moment is not None:
                model[uid] = moment  # type: ignore[index, assignment]
        else:
            (now,) = arguments
            wanted = {uid for uid, moment in model.items() if moment <= now}  # type: ignore[operator]
            assert set(departures.due(now)) == wanted  # type: ignore[arg-type]
            model = {uid: moment for uid, moment in model.items() if uid not in wanted}
        assert departures.next_moment() == min(model.values(), default=math.inf)
