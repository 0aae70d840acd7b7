"""What is told of a change of GPUs: an event about the device, and one for each workload that has it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node, Use
from arbora_agent.gpu.health.xids import Meaning, rule_of

Severity = Literal["normal", "warning"]
OLD_NEWS = 120.0
"""Seconds that a device has been so: whoever hears of it for the first time need not tell it as news."""


@dataclass(frozen=True, slots=True)
class Event:
    """As the agent reports it."""

    severity: Severity
    reason: str
    subject: str
    message: str


_REASONS: dict[Health, tuple[Severity, str]] = {
    Health.HEALTHY: ("normal", "GpuHealthy"),
    Health.DEGRADED: ("warning", "GpuDegraded"),
    Health.DRAINING: ("warning", "GpuDraining"),
    Health.UNHEALTHY: ("warning", "GpuUnhealthy"),
    Health.RECOVERING: ("normal", "GpuRecovering"),
}


def changes(name: str, before: Node | None, after: Node) -> Iterator[Event]:
    """What is news in `after`. name: of the node. before: None if it is heard of for the first time."""
    if after.trouble and (before is None or after.trouble != before.trouble):
        yield Event("warning", "GpusUnread", f"gpu/{name}", f"The GPUs of node {name}: {after.trouble}")
    known = {each.uuid: each for each in before.devices} if before is not None else {}
    for device in after.devices:
        yield from _of_device(name, known.get(device.uuid), device)
    for what, reason in (("idle", "GpuIdle"), ("leaked", "GpuLeaked")):
        count, earlier = getattr(after, what), 0 if before is None else getattr(before, what)
        if count > earlier:
            words = {
                "idle": f"{count} GPUs of node {name} are held by pods that have not used them for half an hour.",
                "leaked": f"{count} GPUs of node {name} are used by something that no pod stands for.",
            }
            yield Event("warning", reason, f"gpu/{name}", words[what])


def _of_device(name: str, before: Device | None, after: Device) -> Iterator[Event]:
    title = f"GPU {after.index} of node {name} ({after.uuid})"
    subject = f"gpu/{name}/{after.uuid}"
    was = before.health if before is not None else Health.HEALTHY
    fresh = before is not None or after.health_for < OLD_NEWS
    if after.health is not was and fresh:
        severity, reason = _REASONS[after.health]
        sentence = f"{title} is {after.health.word}: {after.reason}."
        yield Event(severity, reason, subject, sentence)
        if after.health in (Health.UNHEALTHY, Health.DRAINING):
            yield from _to_holders(after, severity, reason, sentence)
    if after.last_xid is not None and (before is None or before.last_xid != after.last_xid) and fresh:
        rule = rule_of(after.last_xid)
        if rule.meaning is Meaning.APPLICATION:
            words = f"{title} reports XID {rule.code}, {rule.words}: the program has to be started again."
            yield Event("normal", "GpuApplicationError", subject, words)
            yield from _to_holders(after, "normal", "GpuApplicationError", words)
    use_before = before.use if before is not None else Use.UNKNOWN
    if after.use is not use_before and after.use is Use.IDLE:
        words = f"{title} is held and has not been used for half an hour."
        yield Event("warning", "GpuIdle", subject, words)
        yield from _to_holders(after, "warning", "GpuIdle", words)
    elif after.use is not use_before and after.use is Use.LEAKED:
        yield Event("warning", "GpuLeaked", subject, f"{title} is used by something that no pod stands for.")


def _to_holders(device: Device, severity: Severity, reason: str, sentence: str) -> Iterator[Event]:
    """The same, for every workload that has the device, or may have it."""
    for holder in device.holders:
        if not holder.workload:
            continue
        place = f"{holder.namespace}/{holder.pod}"
        end = (
            f" Its pod {place} holds it."
            if holder.certain
            else f" Its pod {place} is one of those that may hold it."
        )
        yield Event(severity, reason, f"workload/{holder.workload}", sentence + end)
