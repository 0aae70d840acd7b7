"""Performance: fast devices, not throttled, short queues, near.

    P = 100 (.4 hw + .2 (1 - throttled) + .25 / (1 + W / 300 s) + .15 n(rtt; 5 ms, 500 ms))
    hw = speed of the class / speed of the fastest class that fits
    n(x; good, bad) = (bad - x) / (bad - good), within 0 and 1

What is not known is left out, and the rest counts for more.
"""

from __future__ import annotations

import numpy as np

from arbora_hub.placement.arrays import Floats
from arbora_hub.placement.blocks import fraction
from arbora_hub.placement.world import World

QUEUE_SECONDS = 300.0
GOOD_RTT_MS, BAD_RTT_MS = 5.0, 500.0


class Performance:
    """See the module."""

    name = "performance"
    weight = 0.25
    missing = "its speed, throttling, queue and distance"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        return world.serving.kept((self.name, world.size), lambda: self._scores(world))

    def _scores(self, world: World) -> Floats:
        snapshot = world.snapshot
        rtt = snapshot.column(
            "rtt", lambda place, rows: np.nan if place.rtt_ms is None else place.rtt_ms, np.float64, np.nan
        )
        parts: list[tuple[float, Floats]] = [
            (0.15, np.clip((BAD_RTT_MS - rtt) / (BAD_RTT_MS - GOOD_RTT_MS), 0.0, 1.0))
        ]
        if world.leader is not None:
            wait = world.mean(snapshot.floats("wait")[world.rows])
            parts += [
                (0.4, world.speed),
                (0.2, 1.0 - world.mean(snapshot.floats("throttled")[world.rows])),
                (0.25, 1.0 / (1.0 + wait / QUEUE_SECONDS)),
            ]
        return weighed(parts)


def weighed(parts: list[tuple[float, Floats]]) -> Floats:
    """100 times the weighted mean of what is known; NaN where nothing is."""
    total = np.zeros(len(parts[0][1]))
    weights = np.zeros(len(parts[0][1]))
    for weight, values in parts:
        known = ~np.isnan(values)
        total += weight * np.where(known, values, 0.0)
        weights += weight * known
    return 100.0 * fraction(total, weights, np.nan)
