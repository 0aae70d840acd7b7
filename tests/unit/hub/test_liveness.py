"""How present a member is, by the hub's clock alone."""

from __future__ import annotations

import pytest

from arbora_hub.inventory.liveness import Liveness, Terms, judge

TERMS = Terms(heartbeat_interval=10.0, lease_duration=40.0, startup_grace=60.0)


def at(now: float, *, heard: float | None, connected: bool, started: float = 0.0, ever: bool = True) -> Liveness:
    return judge(connected=connected, heard=heard, ever_connected=ever, now=now, started=started, terms=TERMS)


def test_a_member_that_never_connected_is_joining() -> None:
    assert at(1000.0, heard=None, connected=False, ever=False) is Liveness.JOINING


@pytest.mark.parametrize("silent", [0.0, 10.0, 20.9])
def test_heard_of_in_time_is_online(silent: float) -> None:
    assert at(1000.0, heard=1000.0 - silent, connected=True) is Liveness.ONLINE


def test_two_missed_heartbeats_are_suspect() -> None:
    assert at(1000.0, heard=978.0, connected=True) is Liveness.SUSPECT


def test_a_lost_stream_is_suspect_at_once() -> None:
    assert at(1000.0, heard=1000.0, connected=False) is Liveness.SUSPECT


@pytest.mark.parametrize("connected", [True, False])
def test_a_lease_that_has_run_out_is_lost_even_on_an_open_stream(connected: bool) -> None:
    assert at(1000.0, heard=959.0, connected=connected) is Liveness.LOST


def test_a_restarted_hub_calls_nobody_lost_before_its_grace_is_over() -> None:
    assert at(59.0, heard=None, connected=False) is Liveness.SUSPECT
    assert at(61.0, heard=None, connected=False) is Liveness.LOST
