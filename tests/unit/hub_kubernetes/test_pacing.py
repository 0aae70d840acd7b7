"""How often a profile is written, in time that passes by hand."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.kubernetes.profiles.pacing import PAUSE_SECONDS, Pacer


def test_the_first_write_of_what_is_not_there_is_at_once() -> None:
    assert Pacer().decide(5.0, differs=True, urgent=True) == 0.0


def test_without_a_difference_nothing_is_written() -> None:
    assert Pacer().decide(5.0, differs=False) == "nothing"


def test_a_change_waits_for_a_moment_and_for_the_gap() -> None:
    pacer = Pacer(gap=30.0, settle=3.0)
    pacer.decide(0.0, differs=True, urgent=True)
    pacer.wrote(0.0)
    assert pacer.decide(1.0, differs=True) == 29.0
    assert pacer.decide(29.0, differs=True) == 1.0
    assert pacer.decide(30.0, differs=True) == 0.0
    pacer.wrote(30.0)
    assert pacer.decide(100.0, differs=True) == 3.0


def test_what_lasts_only_a_moment_is_not_written() -> None:
    pacer = Pacer(gap=30.0, settle=3.0)
    pacer.wrote(0.0)
    for moment in range(100, 200, 4):
        assert pacer.decide(moment, differs=True) == 3.0
        assert pacer.decide(moment + 1, differs=False) == "nothing"


def test_a_change_of_health_is_ahead_of_its_time_once() -> None:
    pacer = Pacer(gap=30.0, settle=3.0)
    pacer.wrote(0.0)
    assert pacer.decide(2.0, differs=True, urgent=True) == 0.0
    pacer.wrote(2.0)
    assert pacer.decide(4.0, differs=True, urgent=True) == 28.0
    pacer.wrote(32.0)
    assert pacer.decide(34.0, differs=True, urgent=True) == 0.0


steps = st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans(), st.booleans()), max_size=60)


@given(steps)
def test_between_two_writes_is_a_gap_but_for_one_that_is_urgent(steps: list[tuple[float, bool, bool]]) -> None:
    pacer, now = Pacer(gap=30.0, settle=3.0), 0.0
    written: list[tuple[float, bool]] = []
    for wait, differs, urgent in steps:
        now += wait
        if pacer.decide(now, differs=differs, urgent=urgent) == 0.0:
            written.append((now, urgent))
            pacer.wrote(now)
    early = [after[0] - before[0] < 30.0 - 1e-9 for before, after in pairwise(written)]
    for index, is_early in enumerate(early):
        assert not is_early or written[index + 1][1], "only what is urgent comes early"
        assert not (is_early and index and early[index - 1]), "and never twice in a row"
        assert written[index + 1][0] - written[index][0] >= PAUSE_SECONDS - 1e-9
    for index in range(len(written) - 2):
        assert written[index + 2][0] - written[index][0] >= 30.0 - 1e-9, "so no gap holds more than two"


@given(steps)
def test_a_change_that_stays_is_written_when_it_was_said_to_be(steps: list[tuple[float, bool, bool]]) -> None:
    pacer, now = Pacer(gap=30.0, settle=3.0), 0.0
    for wait, differs, urgent in steps:
        now += wait
        if pacer.decide(now, differs=differs, urgent=urgent) == 0.0:
            pacer.wrote(now)
    wait_for = pacer.decide(now, differs=True)
    assert wait_for != "nothing"
    assert wait_for <= 30.0 + 1e-6
    assert pacer.decide(now + wait_for + 1e-6, differs=True) == 0.0
