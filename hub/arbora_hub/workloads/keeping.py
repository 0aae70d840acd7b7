"""Room that is kept for a gang which the hub above may assign: decided and reserved as if it were assigned.

It ends by itself after a while (`placement.reservations.TTL`), when the parent takes its question back, or when
the assignment comes and takes its place.
"""

from __future__ import annotations

from collections.abc import Callable

from arbora_hub.placement.decide import Decision
from arbora_hub.placement.reservations import TTL
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.workloads.gangs import Gangs
from arbora_hub.workloads.record import Submission, WorkloadRecord
from arbora_hub.workloads.scheduler import Scheduler
from arbora_hub.workloads.turns import Turns


class Keeping:
    """Keeps and releases such room."""

    def __init__(
        self,
        scheduler: Scheduler,
        gangs: Gangs,
        turns: Turns,
        decide: Callable[[WorkloadRecord], Decision],
        clock: Callable[[], float],
    ) -> None:
        """clock: wall time in seconds."""
        self._scheduler = scheduler
        self.gangs = gangs
        self._turns = turns
        self._decide = decide
        self._clock = clock

    async def keep(self, row: WorkloadRow, submission: Submission, seconds: float) -> Decision:
        """Decide until every child hub keeps its part too. With anything pending nothing is kept.

        seconds: for how long, at most as long as any reservation.
        """
        async with self._turns.of(row.name):
            record = WorkloadRecord(row, submission)
            while True:
                self._scheduler.forget(row.uid)
                record.decision = decision = self._decide(record)
                if decision.pending:
                    return decision
                self._scheduler.reserve(record.request(), decision, self._clock(), min(seconds, TTL))
                refusing = await self.gangs.refusing(record)
                if refusing is None:
                    return decision
                record.caps[refusing] = 0

    def release(self, uid: str) -> None:
        """The parent wants that room no more."""
        self._scheduler.forget(uid)
        for child in self.gangs.waiting(uid):
            self.gangs.forget(uid, child)
