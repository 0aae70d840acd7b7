"""The children that a decision may use, best first, as small arrays. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arbora_hub.placement.arrays import Bools, Ints


@dataclass(frozen=True, slots=True)
class Candidates:
    """All arrays have one entry per candidate, in rank order."""

    slots: Ints
    room: Ints
    """Replicas that can be added."""
    held: Ints
    """Replicas that it has and keeps."""
    present: Bools
    """Has the workload now, were it with 0 replicas."""
    ties: Ints

    def __len__(self) -> int:
        return len(self.slots)

    def only(self, kept: Bools | Ints) -> Candidates:
        """Those of a mask, or at positions."""
        return Candidates(self.slots[kept], self.room[kept], self.held[kept], self.present[kept], self.ties[kept])

    def and_then(self, other: Candidates) -> Candidates:
        """These, and the others behind them."""
        return Candidates(
            np.concatenate((self.slots, other.slots)),
            np.concatenate((self.room, other.room)),
            np.concatenate((self.held, other.held)),
            np.concatenate((self.present, other.present)),
            np.concatenate((self.ties, other.ties)),
        )

    def limited(self, ceiling: int) -> Ints:
        """Room, but no more than `ceiling` each, so that sums stay small."""
        return np.minimum(self.room, ceiling)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a workload is divided over candidates."""

    slots: Ints
    replicas: Ints
    """Per slot, what it is to run in the end."""
    pending: int
    """Replicas without a place."""
    faults: tuple[str, ...] = ()
    """Why some are pending, where it is not for lack of room; sentences' parts."""

    @property
    def placed(self) -> int:
        """Replicas with a place."""
        return int(self.replicas.sum())


NOWHERE = np.zeros(0, dtype=np.int64)
