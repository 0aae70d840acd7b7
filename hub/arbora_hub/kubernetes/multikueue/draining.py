"""When may a member leave Kueue's configuration? A state machine; time comes in. Pure.

    Serving -> Draining (never nominated, still in the config) -> Leaving (out of the config, then deleted)
       ^__________|  it belongs to the Fleet again

Kueue takes a cluster that is no longer in the config for lost at once, and starts what runs there somewhere else,
while it goes on there: so a member leaves only when no Workload has it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never


@dataclass(frozen=True, slots=True)
class Serving:
    """Takes jobs."""


@dataclass(frozen=True, slots=True)
class Draining:
    """Takes none, and stays until what runs there has ended."""

    since: float
    """Seconds since the epoch."""
    busy: int
    """Workloads that have it."""
    sentence: str
    left: float | None = None
    """Seconds until it leaves, whatever runs there by then; None: not before something changes."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Nothing of it stays."""

    sentence: str
    forced: bool = False
    """Although Workloads have it."""


State = Serving | Draining | Leaving

SETTLE = 5.0
"""Seconds that a member drains at least: a nomination of the last moment may be on its way to an admission."""


def judged(wanted: bool, why: str, since: float | None, busy: int, now: float, limit: float | None) -> State:
    """The state of one member that Kueue knows.

    wanted: whether it belongs to the Fleet. why: if not, why not. since: when it began to drain, if it has.
    busy: Workloads that have it. limit: seconds after which it goes all the same; None: never.
    """
    if wanted:
        return Serving()
    since = now if since is None else since
    if not busy and now - since >= SETTLE:
        return Leaving(f"{why}, and nothing runs there")
    running = f"{busy} workload{'s' * (busy != 1)}"
    if limit is not None and now - since >= limit:
        return Leaving(f"{why}, and had {running} after {limit:.0f} s", forced=True)
    left = None if limit is None else limit - (now - since)
    if not busy:
        return Draining(since, 0, why, SETTLE - (now - since))
    return Draining(since, busy, f"{why}, and still has {running}", left)


def in_config(states: Mapping[str, State]) -> list[str]:
    """Those that Kueue's configuration names."""
    found = []
    for name, state in states.items():
        match state:
            case Serving() | Draining():
                found.append(name)
            case Leaving():
                pass
            case _:
                assert_never(state)
    return sorted(found)
