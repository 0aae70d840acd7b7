"""What is told of a change of GPUs, and to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.gpus.health import Health
from arbora.gpus.model import Device, Holder, Node, Use
from arbora_agent.nodes.told import Event, changes

WELL = Device("GPU-a", 3, health_for=1.0, reason="nothing is known against it")
TITLE = "GPU 3 of node n1 (GPU-a)"
SUBJECT = "gpu/n1/GPU-a"


def told(before: Device | None, after: Device, **node: object) -> list[Event]:
    first = None if before is None else Node(devices=(before,))
    return list(changes("n1", first, Node(devices=(after,), **node)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("health", "severity", "reason"),
    [
        (Health.DEGRADED, "warning", "GpuDegraded"),
        (Health.DRAINING, "warning", "GpuDraining"),
        (Health.UNHEALTHY, "warning", "GpuUnhealthy"),
        (Health.RECOVERING, "normal", "GpuRecovering"),
    ],
)
def test_a_change_of_health_is_an_event_that_says_why(health: Health, severity: str, reason: str) -> None:
    after = replace(WELL, health=health, reason="it is so")
    (event,) = told(WELL, after)
    assert (event.severity, event.reason, event.subject) == (severity, reason, SUBJECT)
    assert event.message == f"{TITLE} is {health.word}: it is so."


def test_a_gpu_that_is_well_again_is_told_too() -> None:
    (event,) = told(replace(WELL, health=Health.RECOVERING), WELL)
    assert (event.severity, event.reason) == ("normal", "GpuHealthy")


def test_the_same_health_for_another_reason_is_no_event() -> None:
    bad = replace(WELL, health=Health.UNHEALTHY, reason="one")
    assert told(bad, replace(bad, reason="two")) == []


def test_what_was_so_for_long_is_no_news_to_an_agent_that_started_anew() -> None:
    old = replace(WELL, health=Health.UNHEALTHY, health_for=3600.0)
    assert told(None, old) == []
    assert [event.reason for event in told(None, replace(old, health_for=2.0))] == ["GpuUnhealthy"]


@pytest.mark.parametrize("health", [Health.UNHEALTHY, Health.DRAINING])
def test_a_workload_on_a_failing_gpu_gets_an_event_that_names_it(health: Health) -> None:
    holders = (Holder("team", "train-x", "train", True),)
    events = told(WELL, replace(WELL, health=health, reason="it is so", holders=holders))
    assert [event.subject for event in events] == [SUBJECT, "workload/train"]
    assert events[1].message == f"{TITLE} is {health.word}: it is so. Its pod team/train-x holds it."


def test_a_workload_that_may_have_it_is_told_that_it_may() -> None:
    holders = (Holder("team", "a", "train", False), Holder("team", "b", "", False))
    events = told(WELL, replace(WELL, health=Health.UNHEALTHY, holders=holders))
    assert [event.subject for event in events] == [SUBJECT, "workload/train"]
    assert events[1].message.endswith("Its pod team/a is one of those that may hold it.")


def test_a_degraded_gpu_is_no_business_of_its_workload() -> None:
    holders = (Holder("team", "a", "train", True),)
    events = told(WELL, replace(WELL, health=Health.DEGRADED, holders=holders))
    assert [event.subject for event in events] == [SUBJECT]


def test_an_error_of_an_application_is_told_to_its_workload() -> None:
    holders = (Holder("team", "a", "train", True),)
    events = told(replace(WELL, holders=holders), replace(WELL, last_xid=31, holders=holders))
    assert [(event.severity, event.reason) for event in events] == [("normal", "GpuApplicationError")] * 2
    assert "XID 31, GPU memory page fault" in events[1].message


def test_other_codes_speak_through_health() -> None:
    assert told(WELL, replace(WELL, last_xid=63)) == []


@pytest.mark.parametrize(
    ("use", "reason", "subjects"),
    [
        (Use.IDLE, "GpuIdle", [SUBJECT, "workload/train"]),
        (Use.LEAKED, "GpuLeaked", [SUBJECT]),
    ],
)
def test_where_kubernetes_and_the_device_disagree(use: Use, reason: str, subjects: list[str]) -> None:
    holders = (Holder("team", "a", "train", True),)
    events = told(replace(WELL, use=Use.HELD), replace(WELL, use=use, holders=holders))
    assert [event.reason for event in events] == [reason] * len(subjects)
    assert [event.subject for event in events] == subjects


def test_by_number_where_it_is_not_known_which() -> None:
    events = list(changes("n1", Node(devices=(WELL,)), Node(devices=(WELL,), idle=2, leaked=1)))
    assert [(event.reason, event.subject) for event in events] == [("GpuIdle", "gpu/n1"), ("GpuLeaked", "gpu/n1")]
    assert list(changes("n1", Node(devices=(WELL,), idle=2), Node(devices=(WELL,), idle=1))) == []


def test_devices_that_can_not_be_read_are_told_once() -> None:
    (event,) = told(WELL, WELL, trouble="no driver")
    assert (event.reason, event.message) == ("GpusUnread", "The GPUs of node n1: no driver")
    both = Node(devices=(WELL,), trouble="no driver")
    assert list(changes("n1", both, both)) == []
