"""How many sessions begin per second, and who may go on guessing join tokens."""

from __future__ import annotations

import pytest

from arbora_hub.enrollment.attempts import PER_SOURCE, PER_TOKEN, WINDOW_SECONDS, Attempts
from arbora_hub.sessions.admission import Admission, reconnect_window


def test_a_herd_is_let_in_at_the_rate() -> None:
    admission = Admission(rate=10.0, now=0.0)
    admitted = [tick / 100 for tick in range(300) if admission.admit(f"m-{tick}", tick / 100)]
    assert len([moment for moment in admitted if moment < 0.01]) == 1
    assert 10 <= len([moment for moment in admitted if moment < 1.0]) <= 20
    assert 9 <= len([moment for moment in admitted if 1.0 <= moment < 2.0]) <= 11


def test_an_idle_hub_keeps_room_for_one_second_and_no_more() -> None:
    admission = Admission(rate=10.0, now=0.0)
    assert sum(admission.admit(f"m-{each}", 1000.0) for each in range(50)) == 10


def test_who_is_refused_is_told_a_moment_of_its_own_at_the_rate() -> None:
    admission = Admission(rate=200.0, now=0.0)
    told = [admission.retry_after(f"m-{each}", 0.0) for each in range(1000)]
    assert told == sorted(set(told))
    assert told[-1] - told[0] == pytest.approx(999 / 200.0)


def test_who_comes_early_keeps_its_moment_and_delays_nobody() -> None:
    admission = Admission(rate=10.0, now=0.0)
    first = admission.retry_after("hasty", 0.0)
    assert admission.retry_after("hasty", 0.05) == pytest.approx(first - 0.05)
    assert admission.retry_after("next", 0.05) < first + 0.1


def test_a_herd_that_obeys_is_inside_as_soon_as_the_rate_allows() -> None:
    admission, moments, inside = Admission(rate=100.0, now=0.0), dict.fromkeys(range(1000), 0.0), 0.0
    while moments:
        child = min(moments, key=moments.__getitem__)
        inside = moments.pop(child)
        if not admission.admit(f"m-{child}", inside):
            moments[child] = inside + admission.retry_after(f"m-{child}", inside)
    assert inside <= 1000 / 100.0 + 1.0


@pytest.mark.parametrize(("children", "seconds"), [(0, 0.2), (1000, 5.0), (100_000, 120.0)])
def test_children_spread_their_return_over_the_time_the_hub_needs(children: int, seconds: float) -> None:
    assert reconnect_window(children, 200.0) == pytest.approx(seconds)


def test_guessing_is_stopped_per_token_from_wherever_it_comes() -> None:
    attempts = Attempts()
    for number in range(PER_TOKEN):
        assert attempts.allow(f"ipv4:10.0.0.{number}:1", "token", 0.0)
        attempts.failed(f"ipv4:10.0.0.{number}:1", "token", 0.0)
    assert not attempts.allow("ipv4:10.9.9.9:1", "token", 1.0)
    assert attempts.allow("ipv4:10.9.9.9:1", "another", 1.0)


def test_guessing_is_stopped_per_address_whatever_the_port_and_the_token() -> None:
    attempts = Attempts()
    for number in range(PER_SOURCE):
        attempts.failed(f"ipv4:10.0.0.1:{number}", f"token-{number}", 0.0)
    assert not attempts.allow("ipv4:10.0.0.1:9999", "fresh", 1.0)
    assert attempts.allow("ipv4:10.0.0.2:9999", "fresh", 1.0)


def test_a_window_later_all_is_forgiven() -> None:
    attempts = Attempts()
    for _ in range(PER_TOKEN):
        attempts.failed("ipv4:10.0.0.1:1", "token", 0.0)
    assert not attempts.allow("ipv4:10.0.0.1:1", "token", WINDOW_SECONDS)
    assert attempts.allow("ipv4:10.0.0.1:1", "token", WINDOW_SECONDS + 1)
