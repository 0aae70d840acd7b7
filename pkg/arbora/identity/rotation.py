"""When a leaf is renewed, and how a hub's CA is replaced without stranding a child.

A CA's life: *prepared* (in every child's trust bundle, signs nothing) -> *active* (signs) ->
*retiring* (still trusted, signs nothing) -> gone. Three steps take it there, each of which needs the
one before; what a step does in each phase is one table. Two waits make it safe, both one leaf lifetime:

- before a prepared CA signs, every child whose certificate is still valid has got one since, with a
  bundle that has the new CA in it;
- before a retiring CA is dropped, every certificate it signed has ended.

A CA whose own dates have passed counts as gone: no leaf outlives it. This module decides only; keys,
certificates, storing and the clock are the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from arbora.errors import Conflict, InvalidInput
from arbora.identity.authority import BACKDATE


def renew_at(not_before: datetime, not_after: datetime, jitter01: float) -> datetime:
    """When to renew a leaf: at half of its life, 10 % of that earlier or later as `jitter01` in [0, 1] says.

    Its life counts from its issue, which is 5 min after `not_before`: else a certificate of a few
    minutes would be due the moment it is issued. Raises InvalidInput for a jitter out of range.
    """
    if not 0.0 <= jitter01 <= 1.0:
        raise InvalidInput(f"a jitter lies between 0 and 1, {jitter01} does not", field="jitter01")
    issued = min(not_before + BACKDATE, not_after)
    return issued + (not_after - issued) / 2 * (0.9 + 0.2 * jitter01)


class Phase(Enum):
    """Where a CA stands."""

    PREPARED = "prepared"
    ACTIVE = "active"
    RETIRING = "retiring"


class Step(Enum):
    """What takes a rotation on."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Slot:
    """One CA of a hub."""

    serial: str
    phase: Phase
    not_before: datetime
    not_after: datetime
    phase_since: datetime


Slots = tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The step that is due, if any, and why."""

    step: Step | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The slot leaves the state, and its CA every trust bundle."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The step is refused while there is a slot in this phase."""

    message: str
    hint: str


_OLD_IS_TRUSTED = Blocked("the CA before the present one is still trusted", "Retire it first.")

TABLE: dict[tuple[Phase, Step], Phase | Gone | Blocked] = {
    (Phase.PREPARED, Step.PREPARE): Blocked("a CA is prepared already", "Activate it."),
    (Phase.ACTIVE, Step.PREPARE): Phase.ACTIVE,
    (Phase.RETIRING, Step.PREPARE): _OLD_IS_TRUSTED,
    (Phase.PREPARED, Step.ACTIVATE): Phase.ACTIVE,
    (Phase.ACTIVE, Step.ACTIVATE): Phase.RETIRING,
    (Phase.RETIRING, Step.ACTIVATE): _OLD_IS_TRUSTED,
    (Phase.PREPARED, Step.RETIRE): Phase.PREPARED,
    (Phase.ACTIVE, Step.RETIRE): Phase.ACTIVE,
    (Phase.RETIRING, Step.RETIRE): Gone(),
}
"""What each step does to a slot in each phase."""

_NEEDED: dict[Step, tuple[Phase, str, str]] = {
    Step.ACTIVATE: (Phase.PREPARED, "no CA is prepared", "Prepare one first."),
    Step.RETIRE: (Phase.RETIRING, "no CA is retiring", "Prepare and activate another one first."),
}


def begin(serial: str, not_before: datetime, not_after: datetime, now: datetime) -> Slots:
    """The state of a new hub: its first CA is active at once, for nobody trusts another."""
    return (Slot(serial, Phase.ACTIVE, not_before, not_after, now),)


def prepare(slots: Slots, serial: str, not_before: datetime, not_after: datetime, now: datetime) -> Slots:
    """Add a new CA that is trusted from now on. Raises Conflict if a rotation is under way."""
    if any(slot.serial == serial for slot in slots):
        raise Conflict(f"the CA {serial} is known already", hint="Make a new one.")
    if not not_before <= now < not_after:
        raise Conflict(f"the CA {serial} is not valid now", hint="Make a new one.")
    return (*_take(slots, Step.PREPARE, now), Slot(serial, Phase.PREPARED, not_before, not_after, now))


def activate(slots: Slots, now: datetime, leaf_lifetime: timedelta, *, forced: bool = False) -> Slots:
    """Let the prepared CA sign; the present one goes on being trusted.

    Raises Conflict if none is prepared, or not yet for a leaf lifetime. forced: don't wait (the present
    key is in wrong hands); children that were away meanwhile have to join again.
    """
    return _timed(slots, Step.ACTIVATE, now, leaf_lifetime, forced)


def retire(slots: Slots, now: datetime, leaf_lifetime: timedelta, *, forced: bool = False) -> Slots:
    """Drop the CA before the present one from the trust bundle.

    Raises Conflict if there is none, or if a leaf that it signed may still be valid. forced: don't wait;
    children with such a leaf have to join again.
    """
    return _timed(slots, Step.RETIRE, now, leaf_lifetime, forced)


def next_step(slots: Slots, now: datetime, leaf_lifetime: timedelta) -> Decision:
    """The step that is due at `now`, with a sentence in either case. Taking it never raises."""
    by_phase = {slot.phase: slot for slot in living(slots, now)}
    prepared, active, retiring = (by_phase.get(phase) for phase in Phase)
    if retiring:
        return _wait_for(Step.RETIRE, retiring, now, leaf_lifetime, "was replaced")
    if prepared and not active:
        return Decision(Step.ACTIVATE, f"CA {prepared.serial} is prepared and no other one is valid.")
    if prepared:
        return _wait_for(Step.ACTIVATE, prepared, now, leaf_lifetime, "was prepared")
    if not active:
        return Decision(Step.PREPARE, "No CA is valid.")
    half = active.not_before + (active.not_after - active.not_before) / 2
    if now >= half:
        return Decision(Step.PREPARE, f"Half of the life of CA {active.serial} is over.")
    return Decision(None, f"CA {active.serial} is active; another one is prepared from {_text(half)} on.")


def living(slots: Slots, now: datetime) -> Slots:
    """The slots whose CA has not ended."""
    return tuple(slot for slot in slots if now <= slot.not_after)


def signer(slots: Slots, now: datetime) -> Slot:
    """The CA that signs now. Raises Conflict if none is valid."""
    for slot in living(slots, now):
        if slot.phase is Phase.ACTIVE:
            return slot
    raise Conflict("the hub has no valid CA", hint="Prepare and activate one; every child has to join again.")


def trusted(slots: Slots, now: datetime) -> tuple[str, ...]:
    """Serials of the CAs in the trust bundle now."""
    return tuple(slot.serial for slot in living(slots, now))


def _timed(slots: Slots, step: Step, now: datetime, leaf_lifetime: timedelta, forced: bool) -> Slots:
    after = _take(slots, step, now)
    phase, missing, hint = _NEEDED[step]
    alive = living(slots, now)
    subject = next((slot for slot in alive if slot.phase is phase), None)
    if subject is None:
        raise Conflict(missing, hint=hint)
    nobody_waits = step is Step.ACTIVATE and not any(slot.phase is Phase.ACTIVE for slot in alive)
    if not forced and not nobody_waits and not _waited(subject, now, leaf_lifetime):
        raise Conflict(
            f"the CA {subject.serial} is {phase.value} since {_text(subject.phase_since)}; it is too early to "
            f"{step.value} it",
            hint=f"Wait until {_text(subject.phase_since + leaf_lifetime)}, one lifetime of a certificate.",
        )
    return after


def _take(slots: Slots, step: Step, now: datetime) -> Slots:
    after = []
    for slot in living(slots, now):
        match TABLE[slot.phase, step]:
            case Blocked(message, hint):
                raise Conflict(message, hint=hint)
            case Gone():
                continue
            case phase if phase is slot.phase:
                after.append(slot)
            case phase:
                after.append(replace(slot, phase=phase, phase_since=now))
    return tuple(after)


def _wait_for(step: Step, slot: Slot, now: datetime, leaf_lifetime: timedelta, event: str) -> Decision:
    since = f"CA {slot.serial} {event} at {_text(slot.phase_since)}"
    if _waited(slot, now, leaf_lifetime):
        return Decision(step, f"{since}, more than one lifetime of a certificate ago.")
    return Decision(None, f"{since}; {step.value} is due at {_text(slot.phase_since + leaf_lifetime)}.")


def _waited(slot: Slot, now: datetime, leaf_lifetime: timedelta) -> bool:
    # "more than": a certificate is still valid in the second in which it ends (RFC 5280, 4.1.2.5)
    return now > slot.phase_since + leaf_lifetime


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
