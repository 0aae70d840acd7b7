"""Reservations of decisions that could not be stored."""

from __future__ import annotations

from arbora_hub.placement.demand import Demand, GpuWish, PodGroup
from arbora_hub.placement.reservations import TTL, Reservations

PODS = Demand((PodGroup("pods", 4, 8, GpuWish()),))


def test_what_was_held_last_is_taken_back_and_what_was_held_before_stays() -> None:
    held = Reservations()
    held.hold("one", PODS, [("a", 1)], 0.0)
    held.hold("one", PODS, [("a", 2), ("b", 1)], 1.0)
    assert held.take_back("one", PODS, [("a", 2), ("b", 1)]) == ("a", "b")
    assert held.devices("one", "a") == 8
    assert held.devices("one", "b") == 0
    assert not held.holds_at("b")


def test_taking_back_what_has_run_out_changes_nothing() -> None:
    held = Reservations()
    held.hold("one", PODS, [("a", 1)], 0.0)
    held.expire(TTL)
    assert held.take_back("one", PODS, [("a", 1)]) == ()


def test_a_reservation_that_was_taken_back_counts_as_ended() -> None:
    held = Reservations()
    held.hold("one", PODS, [("a", 1)], 0.0)
    before = held.ended
    held.take_back("one", PODS, [("a", 1)])
    assert held.ended == before + 1
