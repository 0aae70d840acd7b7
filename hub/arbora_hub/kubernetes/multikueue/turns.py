"""Whose turn it is to admit a Workload, and until when: a state machine per Workload. Pure; time comes in.

    nobody nominated -> one nominated -> (not admitted in time) -> the next best -> ... -> all that could take it
                              `-> (admitted, evicted, gone) -> forgotten

Once all that could take it are asked nobody is taken back, except those that are closed: a place in a member's
queue is not given up for another. What Kueue's own dispatcher, or somebody else, has nominated is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from arbora_hub.kubernetes.multikueue.asking import Asking
from arbora_hub.kubernetes.multikueue.choosing import Choice


@dataclass(frozen=True, slots=True)
class Turn:
    """Who was nominated for a Workload."""

    clusters: tuple[str, ...]
    since: float
    open: bool = False
    """Whether all that could take it are asked."""
    tried: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> why it is not asked alone again."""
    version: int = 0
    """The Workload's resourceVersion that our nomination led to; 0: it is not ours."""
    overruled: bool = False
    """Whether somebody else nominated others."""


@dataclass(frozen=True, slots=True)
class Forget:
    """It does not wait for us."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to write."""

    turn: Turn | None
    seconds: float | None
    """Until it is looked at again; None: when something changes."""
    choice: Choice | None = None
    """Where nobody can be nominated: why."""


@dataclass(frozen=True, slots=True)
class Nominate:
    """Write these; then it is `turn`, with the version that the write led to."""

    clusters: tuple[str, ...]
    turn: Turn
    choice: Choice


Step = Forget | Wait | Nominate

PAUSE = 1.0
"""Seconds between two nominations of one Workload at least."""


def step(
    turn: Turn | None,
    asking: Asking,
    closed: Collection[str],
    away: Collection[str],
    retry: float,
    choose: Callable[[Mapping[str, str]], Choice],
    now: float,
) -> Step:
    """What is due for one Workload.

    closed: clusters that must not be nominated (any more). away: those that can't be asked just now; they keep
    their turn. retry: seconds of one turn. choose: cluster -> why it is not asked again, to a choice; called only
    where one is needed. now: seconds on any steady clock.
    """
    if not asking.waits:
        return Forget(asking.why_not)
    if turn is not None and asking.version.isdigit() and int(asking.version) < turn.version:
        return Wait(turn, None)  # seen before our own write; the event of that write is on its way
    if turn is not None and not asking.nominated and now - turn.since < PAUSE:
        return Wait(turn, PAUSE - (now - turn.since))  # somebody takes our nominations away: no race with them
    tried = dict(turn.tried) if turn is not None else {}
    turn = _as_it_stands(turn, asking, now)
    shut = sorted(set(asking.nominated) & set(closed))
    if turn is not None and not shut and now - turn.since < retry:
        return Wait(turn, retry - (now - turn.since))
    if turn is not None and not turn.open and not shut:
        tried |= dict.fromkeys(turn.clusters, f"did not admit it within {retry:.0f} s")
    choice = choose(tried)
    wanted = set(choice.clusters)
    if turn is not None and (turn.open or not wanted):
        wanted |= set(turn.clusters) - set(closed) - (set(away) if wanted else set())
    clusters = tuple(sorted(wanted))
    after = Turn(
        clusters,
        now,
        open=len(clusters) > 1 or (turn is not None and turn.open),
        tried=tried,
        overruled=turn is not None and turn.overruled,
    )
    if clusters == tuple(sorted(asking.nominated)):
        return Wait(after if clusters else None, retry if clusters else None, choice)
    return Nominate(clusters, after, choice)


def _as_it_stands(turn: Turn | None, asking: Asking, now: float) -> Turn | None:
    """The turn by what the Workload says, which counts, whatever we remember; None: nobody is nominated."""
    if not asking.nominated:
        return None
    if turn is not None and set(turn.clusters) == set(asking.nominated):
        return turn
    return Turn(
        tuple(sorted(asking.nominated)),
        now,
        open=len(asking.nominated) > 1,
        overruled=turn is not None,
    )
