"""A member leaves Kueue's configuration only when nothing runs there, unless a Fleet sets a limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.kubernetes.multikueue.draining import SETTLE, Draining, Leaving, Serving, in_config, judged

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 5000, allow_nan=False)), min_size=1, max_size=30
)


@given(STEPS)
def test_without_a_limit_a_member_with_running_work_is_never_taken_out(
    steps: list[tuple[bool, int, float]],
) -> None:
    since, now = None, 0.0
    for wanted, busy, passed in steps:
        now += passed
        state = judged(wanted, "it left", since, busy, now, None)
        if busy or wanted:
            assert in_config({"/a": state}) == ["/a"]
        match state:
            case Draining(began):
                since = began
            case Serving():
                since = None
            case Leaving(forced=forced):
                assert not forced
                break


@given(st.integers(1, 5), st.floats(1, 10_000), st.floats(0, 20_000))
def test_with_a_limit_it_goes_exactly_when_the_limit_is_over(busy: int, limit: float, passed: float) -> None:
    state = judged(False, "it left", 0.0, busy, passed, limit)
    assert isinstance(state, Leaving) == (passed >= limit)
    if isinstance(state, Draining):
        assert state.left == limit - passed


def test_even_an_idle_member_drains_for_a_moment_as_a_nomination_may_be_on_its_way() -> None:
    first = judged(False, "it left the Fleet", None, 0, 100.0, None)
    assert first == Draining(100.0, 0, "it left the Fleet", SETTLE)
    assert isinstance(judged(False, "it left the Fleet", 100.0, 0, 100.0 + SETTLE, None), Leaving)


def test_who_belongs_to_the_fleet_again_serves_again() -> None:
    assert judged(True, "", 100.0, 2, 200.0, 50.0) == Serving()


def test_the_sentence_names_the_reason_and_what_runs() -> None:
    state = judged(False, "it is cordoned", 0.0, 2, 10.0, None)
    assert isinstance(state, Draining)
    assert state.sentence == "it is cordoned, and still has 2 workloads"
