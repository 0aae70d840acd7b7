"""What a filter is."""

from __future__ import annotations

from typing import Protocol

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.policy import Request
from arbora_hub.placement.world import World

PASSES = 0


class Filter(Protocol):
    """One question to every child at once."""

    @property
    def name(self) -> str:
        """In explanations, and unique."""
        ...

    @property
    def codes(self) -> tuple[str, ...]:
        """Reason codes; verdict n means codes[n - 1]."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether it also drives away what is already placed. Others only keep new work away."""
        ...

    def applies(self, request: Request) -> bool:
        """False where the request can't fail it, so that its columns need not be computed."""
        ...

    def verdicts(self, world: World) -> Ints:
        """Per slot, PASSES or the number of a reason."""
        ...

    def sentence(self, world: World, slot: int, code: str) -> str:
        """Why that child fails, as the end of a sentence that begins with its name."""
        ...
