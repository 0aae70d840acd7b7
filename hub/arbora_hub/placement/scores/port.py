"""What a scorer is."""

from __future__ import annotations

from typing import Protocol

from arbora_hub.placement.arrays import Floats
from arbora_hub.placement.world import World

UNKNOWN_SCORE = 50.0
"""What a child gets where a scorer knows nothing of it: neither reward nor punishment."""


class Scorer(Protocol):
    """Rates every child at once."""

    name: str
    """In explanations and in `weights`, and unique."""
    weight: float
    """Its share by default; 0: only where a placement asks for it."""
    missing: str
    """What is not known where the score is NaN."""

    def scores(self, world: World) -> Floats:
        """Per slot, 0 to 100; NaN where nothing is known. Slots without a child may hold anything."""
        ...
