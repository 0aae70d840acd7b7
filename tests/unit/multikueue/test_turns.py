"""Members are asked one after the other, and then all of them; nobody fights over a nomination."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from arbora_hub.kubernetes.multikueue.asking import Asking
from arbora_hub.kubernetes.multikueue.choosing import Choice
from arbora_hub.kubernetes.multikueue.turns import PAUSE, Forget, Nominate, Step, Turn, Wait, step

RETRY = 60.0


def asking(*nominated: str, version: int = 5, waits: bool = True) -> Asking:
    return Asking(
        "team/train", "u1", "check", "", nominated, waits, "" if waits else "a has it", False, str(version)
    )


def in_order(*members: str):  # type: ignore[no-untyped-def]
    """Chooses the first that was not tried, and all once every one was."""

    def choose(tried: Mapping[str, str]) -> Choice:
        left = [one for one in members if one not in tried]
        return Choice((left[0],) if left else tuple(sorted(members)), (), "", ())

    return choose


def due(
    turn: Turn | None,
    asks: Asking,
    now: float,
    members: Collection[str] = ("a", "b"),
    closed: Collection[str] = (),
    away: Collection[str] = (),
) -> Step:
    return step(turn, asks, closed, away, RETRY, in_order(*members), now)


def test_each_has_its_turn_and_then_all_are_asked_and_stay_asked() -> None:
    first = due(None, asking(), 0.0)
    assert isinstance(first, Nominate)
    assert first.clusters == ("a",)
    turn = replace(first.turn, version=6)
    assert due(turn, asking("a", version=6), 59.0) == Wait(turn, 1.0)
    second = due(turn, asking("a", version=6), 60.0)
    assert isinstance(second, Nominate)
    assert second.clusters == ("b",)
    assert second.turn.tried == {"a": "did not admit it within 60 s"}
    third = due(second.turn, asking("b", version=7), 120.0)
    assert isinstance(third, Nominate)
    assert third.clusters == ("a", "b")
    last = due(third.turn, asking("a", "b", version=8), 180.0)
    assert isinstance(last, Wait)
    assert last.seconds == RETRY


def test_a_workload_that_does_not_wait_is_forgotten() -> None:
    assert due(Turn(("a",), 0.0), asking(waits=False), 1.0) == Forget("a has it")


def test_what_was_seen_before_our_own_write_is_no_reason_to_write_again() -> None:
    turn = Turn(("a",), 0.0, version=9)
    assert due(turn, asking(version=8), 1.0) == Wait(turn, None)


def test_a_member_that_is_to_go_loses_its_nomination_at_once() -> None:
    found = due(Turn(("a",), 0.0), asking("a"), 1.0, members=("b",), closed=("a",))
    assert isinstance(found, Nominate)
    assert found.clusters == ("b",)
    alone = step(Turn(("a",), 0.0), asking("a"), ("a",), (), RETRY, lambda tried: Choice((), (), "", ()), 1.0)
    assert isinstance(alone, Nominate)
    assert alone.clusters == ()


def test_once_all_are_asked_a_newcomer_is_added_and_nobody_is_taken_back() -> None:
    turn = Turn(("a", "b"), 0.0, open=True)
    found = due(turn, asking("a", "b"), 60.0, members=("c",))
    assert isinstance(found, Nominate)
    assert found.clusters == ("a", "b", "c")
    without = due(turn, asking("a", "b"), 60.0, members=("c",), away=("b",))
    assert isinstance(without, Nominate)
    assert without.clusters == ("a", "c")


def test_nobody_to_ask_leaves_the_one_that_was_asked() -> None:
    found = step(Turn(("a",), 0.0), asking("a"), (), (), RETRY, lambda tried: Choice((), (), "none", ()), 60.0)
    assert isinstance(found, Wait)
    assert found.turn is not None
    assert found.turn.clusters == ("a",)


def test_what_somebody_else_nominates_is_left_and_noted() -> None:
    found = due(Turn(("a",), 0.0, version=5), asking("a", "b", version=6), 1.0)
    assert isinstance(found, Wait)
    assert found.turn is not None
    assert (found.turn.clusters, found.turn.open, found.turn.overruled) == (("a", "b"), True, True)


def test_a_hub_that_restarts_goes_on_with_the_nomination_that_it_finds() -> None:
    found = due(None, asking("b"), 10.0)
    assert found == Wait(Turn(("b",), 10.0), RETRY)


def test_nominations_that_vanish_are_not_written_in_a_race() -> None:
    turn = Turn(("a",), 10.0, version=5)
    assert due(turn, asking(version=6), 10.25) == Wait(turn, PAUSE - 0.25)
    assert isinstance(due(turn, asking(version=6), 11.0), Nominate)
