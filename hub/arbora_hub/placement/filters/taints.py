"""Taints and tolerations, with the three effects of Kubernetes.

NoSchedule keeps new work away. NoExecute also drives out what is there: at once, or after the seconds of the
toleration; until then it admits work that tolerates it, as in Kubernetes, and after that no more.
PreferNoSchedule keeps nothing away; it lowers the score (`scores/leanings.py`).

The seconds run from when the taint was added. In Kubernetes they run from when a controller first saw work and
taint together, so that work which comes later, or a controller that restarts, gets all of them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.policy import Request, Toleration
from arbora_hub.placement.rows import Taint
from arbora_hub.placement.world import World


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether it matches the taint; the seconds aside."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return not toleration.key or toleration.key == taint.key
    return toleration.key == taint.key and toleration.value == taint.value


def tolerated_for(tolerations: Iterable[Toleration], taint: Taint) -> float | None:
    """Seconds for which work may stay under a taint; None: not at all. The shortest that matches counts."""
    spans = [
        math.inf if one.seconds is None else max(0.0, one.seconds) for one in tolerations if tolerates(one, taint)
    ]
    return min(spans) if spans else None


def next_eviction(taints: Iterable[Taint], tolerations: tuple[Toleration, ...], now: float) -> float | None:
    """When work must leave a child with these taints, in seconds on the clock of `now`.

    `now` itself: at once. None: as it is, never. The first of the NoExecute taints to drive it out counts.
    """
    moments = (_end(taint, tolerations, now) for taint in taints if taint.effect == "NoExecute")
    first = min(moments, default=math.inf)
    return None if math.isinf(first) else first


def _end(taint: Taint, tolerations: tuple[Toleration, ...], now: float) -> float:
    """When a NoExecute taint is tolerated no longer, not before `now`; infinite: it always is."""
    span = tolerated_for(tolerations, taint)
    if not span:
        return now  # also where the clock was set back since the taint was added
    return max(now, taint.added + span)


def bearing(taints: Iterable[Taint], tolerations: tuple[Toleration, ...], effect: str) -> list[Taint]:
    """Taints of an effect that are not tolerated."""
    return [taint for taint in taints if taint.effect == effect and tolerated_for(tolerations, taint) is None]


class NoSchedule:
    """Taints that keep new work away."""

    name = "taints"
    codes = ("TAINTED",)
    lasting = False

    def applies(self, request: Request) -> bool:
        """Always."""
        return True

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        tolerations = world.request.policy.tolerations
        return world.snapshot.column(
            ("NoSchedule", tolerations),
            lambda place, rows: int(
                bool(place.taints) and bool(bearing(place.taints, tolerations, "NoSchedule"))
            ),
            np.int64,
            0,
        )

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        taints = world.snapshot.place(slot).taints
        return f"has the taint {bearing(taints, world.request.policy.tolerations, 'NoSchedule')[0]}"


class NoExecute:
    """Taints that drive work out, once the time for which they are tolerated is over."""

    name = "evictions"
    codes = ("TAINTED_NO_EXECUTE",)
    lasting = True

    def applies(self, request: Request) -> bool:
        """Always."""
        return True

    def verdicts(self, world: World) -> Ints:
        """See Filter. Time enters here, so only which children to look at is kept between decisions."""
        verdicts = np.zeros(world.snapshot.slots, dtype=np.int64)
        tainted = world.snapshot.column(
            "NoExecute",
            lambda place, rows: any(taint.effect == "NoExecute" for taint in place.taints),
            np.bool_,
            False,
        )
        for slot in np.flatnonzero(tainted).tolist():
            verdicts[slot] = int(self._driving(world, slot) is not None)
        return verdicts

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        return f"has the taint {self._driving(world, slot)}"

    def _driving(self, world: World, slot: int) -> Taint | None:
        tolerations, now = world.request.policy.tolerations, world.now
        for taint in world.snapshot.place(slot).taints:
            if taint.effect == "NoExecute" and _end(taint, tolerations, now) <= now:
                return taint
        return None
