"""A call that comes twice is done once, and what is remembered for that is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.tree.answered import KEEP_SECONDS, MAX_BYTES, MAX_CALLS, Answered


def test_a_call_is_done_once_and_its_answer_can_be_given_again() -> None:
    calls = Answered()
    assert calls.take("a", 0.0)
    assert not calls.take("a", 1.0)
    assert calls.answer_to("a") is None
    calls.keep("a", b"done")
    assert not calls.take("a", 2.0)
    assert calls.answer_to("a") == b"done"


def test_after_a_minute_a_call_is_forgotten() -> None:
    calls = Answered()
    calls.take("a", 0.0)
    calls.keep("a", b"done")
    assert not calls.take("a", KEEP_SECONDS - 0.1)
    assert calls.take("b", KEEP_SECONDS)
    assert calls.answer_to("a") is None
    assert len(calls) == 1


def test_large_answers_go_first_but_their_calls_stay_known() -> None:
    calls = Answered()
    for number in range(5):
        calls.take(str(number), 0.0)
        calls.keep(str(number), bytes(MAX_BYTES // 4))
    assert [calls.answer_to(str(number)) is not None for number in range(5)] == [False, True, True, True, True]
    assert not calls.take("0", 1.0)


def test_an_answer_to_what_is_forgotten_is_not_kept() -> None:
    calls = Answered()
    calls.keep("a", b"late")
    assert (calls.answer_to("a"), len(calls)) == (None, 0)


def test_their_number_is_bounded() -> None:
    calls = Answered()
    for number in range(MAX_CALLS + 10):
        assert calls.take(str(number), 0.0)
    assert len(calls) == MAX_CALLS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=60))
def test_within_a_minute_no_call_is_done_twice_whatever_comes_between(story: list[tuple[str, float]]) -> None:
    calls, now, last = Answered(), 0.0, dict[str, float]()
    for name, passed in story:
        now += passed
        if calls.take(name, now):
            assert name not in last or now - last[name] >= KEEP_SECONDS
            last[name] = now
            calls.keep(name, name.encode())
        else:
            assert calls.answer_to(name) == name.encode()
