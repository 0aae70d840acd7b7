"""Assignments and how they are doing, as plain data, with the roll-up from parts to the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from arbora.manifests.objects import Manifest, ObjectRef


class State(IntEnum):
    """How an object, an assignment or a workload is doing. The numbers are those of the wire."""

    PENDING = 1
    APPLIED = 2
    PROGRESSING = 3
    AVAILABLE = 4
    DEGRADED = 5
    COMPLETE = 6
    DELETING = 7
    DELETED = 8


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one child is to run."""

    uid: str
    name: str
    generation: int
    manifests: tuple[Manifest, ...]
    withdrawn: bool = False
    """Delete everything that this workload applied. Deletion is always said, never concluded from absence."""
    share: int = 0
    """Pods that it is to run, as the hub counts them; told back with the status."""


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """One object of an assignment."""

    ref: ObjectRef
    state: State
    message: str = ""


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """A part of a workload somewhere below a child hub."""

    path: str
    """Relative to that hub."""
    generation: int
    replicas: int
    state: State
    message: str = ""
    stale: bool = False
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """What a child hub did with its budget."""

    replicas: int
    """Pods that have a place."""
    shortfall: int
    """Pods without one."""
    budget: tuple[int, int] = (0, 0)
    """(replicas, copies) that this answers."""
    reasons: tuple[str, ...] = ()
    parts: tuple[PlacedPart, ...] = ()
    """Some of them, where there are many."""
    parts_total: int = 0


@dataclass(frozen=True, slots=True)
class AssignmentStatus:
    """How an assignment is doing in one child."""

    uid: str
    generation: int
    state: State
    objects: tuple[ObjectStatus, ...] = ()
    message: str = ""
    placed: Placed | None = None
    """Of a child hub."""
    share: int = 0
    """What is reported on: a share may change within a generation."""


_WORST_FIRST = (
    State.DEGRADED,
    State.PENDING,
    State.PROGRESSING,
    State.APPLIED,
)
"""A whole is as its worst part, in this order."""


def roll_up(states: Iterable[State]) -> State:
    """The state of a whole from the states of its parts. Nothing at all is PENDING.

    Complete only if every part that can complete has, and no part is unfinished: parts that are merely
    Available (a Service beside a Job) don't hold completion back.
    """
    seen = frozenset(states)
    if not seen:
        return State.PENDING
    if State.DELETING in seen or State.DELETED in seen:
        return State.DELETED if seen == {State.DELETED} else State.DELETING
    for state in _WORST_FIRST:
        if state in seen:
            return state
    return State.COMPLETE if State.COMPLETE in seen else State.AVAILABLE
