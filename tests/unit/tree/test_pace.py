"""How often something may be said."""

from __future__ import annotations

from arbora_hub.tree.pace import Pace


def test_what_changes_after_a_quiet_time_is_said_at_once() -> None:
    pace = Pace(5.0)
    assert pace.mark("a", 100.0)
    assert pace.take(100.0) == ["a"]
    assert pace.next_due() is None


def test_what_changes_often_is_said_once_per_gap() -> None:
    pace = Pace(5.0)
    said = 0
    for step in range(200):
        pace.mark("a", step / 10)
        said += len(pace.take(step / 10))
    assert said == 4


def test_a_change_during_the_gap_is_said_at_its_end() -> None:
    pace = Pace(5.0)
    pace.mark("a", 0.0)
    pace.take(0.0)
    assert pace.mark("a", 1.0)
    assert not pace.mark("a", 2.0)
    assert pace.next_due() == 5.0
    assert pace.take(4.9) == []
    assert pace.take(5.0) == ["a"]


def test_without_a_gap_every_change_is_said() -> None:
    pace = Pace(0.0)
    for now in (1.0, 1.0, 1.1):
        pace.mark("a", now)
        assert pace.take(now) == ["a"]


def test_one_key_holds_no_other_back_and_a_limit_leaves_the_rest_for_later() -> None:
    pace = Pace(5.0)
    for key in "abc":
        pace.mark(key, 0.0)
    assert sorted(pace.take(0.0, 2) + pace.take(0.0, 2)) == ["a", "b", "c"]
    pace.mark("a", 1.0)
    pace.mark("d", 1.0)
    assert pace.take(1.0) == ["d"]


def test_it_remembers_nothing_of_those_who_are_quiet() -> None:
    pace = Pace(5.0)
    for n in range(1000):
        pace.mark(f"k{n}", 0.0)
    pace.take(0.0)
    pace.take(5.0)
    assert not pace._given
    pace.mark("a", 6.0)
    pace.clear()
    assert pace.take(99.0) == []


def test_who_is_in_a_hurry_has_its_turn_at_once_and_once() -> None:
    pace = Pace(5.0)
    pace.mark("a", 0.0)
    assert pace.take(0.0) == ["a"]
    pace.mark("a", 1.0)
    pace.hurry("a", 1.0)
    assert pace.take(1.0) == ["a"]
    assert pace.take(6.0) == []
    pace.mark("a", 2.0)
    assert pace.next_due() is not None
