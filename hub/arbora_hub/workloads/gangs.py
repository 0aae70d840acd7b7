"""Gangs that go to a child hub: room is kept below before anything is sent, so that none starts in part.

    a decision gives a gang to a hub -> `reservation/<uid>` down -> it decides and keeps room, also below
    granted in full                  -> the gang is sent, and the question is taken back once it has arrived
    refused, or no answer in time    -> that hub is left out until its capacity changes

A hub that does not answer costs one timeout. Nothing here is stored: after a restart the hub asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from arbora.v1 import workload_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.placement.reservations import TTL
from arbora_hub.sessions.registry import Sessions
from arbora_hub.workloads.below import assignment_below
from arbora_hub.workloads.bind import Binding
from arbora_hub.workloads.record import Bound, WorkloadRecord

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0
"""Until a hub at the root's side counts as dead."""
PER_LEVEL = 0.75
"""A hub further down waits this part of what the one above waits, so that it can still answer in time."""


@dataclass(slots=True)
class Asked:
    """One question to one child hub."""

    generation: int
    replicas: int
    timer: asyncio.TimerHandle | None = None
    granted: bool = False
    awaited: asyncio.Future[bool] | None = None
    """Of a hub that is itself asked from above, and waits."""


class Gangs:
    """Reservations that this hub asks of its child hubs."""

    def __init__(
        self, inventory: Inventory, sessions: Sessions, settled: Callable[[str, str, bool], None]
    ) -> None:
        """settled: called with a uid, a child, and whether the room is kept there."""
        self._inventory = inventory
        self._sessions = sessions
        self._settled = settled
        self._asked: dict[tuple[str, str], Asked] = {}

    @property
    def patience(self) -> float:
        """Seconds that this hub waits for an answer."""
        return ANSWER_SECONDS * PER_LEVEL ** len(self._inventory.own_path.labels)

    def must_ask(self, record: WorkloadRecord, name: str, replicas: int) -> bool:
        """Whether a part may not be sent yet: a gang with GPUs for a child hub that keeps no room for it."""
        child, demand = self._inventory.find(name), record.submission.demand
        if child is None or child.row.kind != "hub" or not (demand.gang and demand.gpus):
            return False
        part = record.bound.get(name)
        if part is not None and not part.withdrawn and part.replicas >= replicas:
            return False  # it is there already
        asked = self._asked.get((record.row.uid, name))
        return asked is None or not asked.granted or asked.generation != record.row.generation

    def withheld(self, record: WorkloadRecord, binding: Binding) -> frozenset[str]:
        """Children that may not be told yet. A gang of several parts waits until all have room.

        Reservations that the decision has no use for any more are given up.
        """
        counts = dict(record.decision.assignments) if record.decision is not None else {}
        for name in self.waiting(record.row.uid):
            if record.row.deleting or name not in counts:
                self.forget(record.row.uid, name)
        if any(self.must_ask(record, name, counts[name]) for name in binding.assign):
            return frozenset(binding.assign)
        return frozenset()

    def ask_all(self, record: WorkloadRecord, withheld: Iterable[str]) -> None:
        """Ask those of the withheld children that keep no room yet."""
        counts = dict(record.decision.assignments) if record.decision is not None else {}
        for name in sorted(withheld):
            if self.must_ask(record, name, counts[name]):
                self.ask(record, name, counts[name])

    def ask(self, record: WorkloadRecord, name: str, replicas: int) -> None:
        """Ask a child hub to keep room; repeating it changes nothing."""
        uid, generation, child = record.row.uid, record.row.generation, self._inventory.find(name)
        before = self._asked.get((uid, name))
        if child is None or (
            before is not None and (before.generation, before.replicas) == (generation, replicas)
        ):
            return
        self.forget(uid, name)
        asked = self._asked[uid, name] = Asked(generation, replicas)
        part = Bound(generation, replicas=replicas)
        message = pb.ReservationRequest(
            assignment=assignment_below(record, name, part, self._inventory.own_path),
            lifetime=Duration(seconds=int(TTL)),
        )
        asked.timer = asyncio.get_running_loop().call_later(self.patience, self._silent, uid, name)
        # It stays until it is taken back, which the child hears then; a volatile record's end nobody hears.
        self._sessions.put(child, f"reservation/{uid}", message.SerializeToString(deterministic=True))

    async def refusing(self, record: WorkloadRecord) -> str | None:
        """Ask all child hubs of a gang's decision; the first that keeps no room, None if all do."""
        decision = record.decision
        for name, replicas in decision.assignments if decision is not None else ():
            if not self.must_ask(record, name, replicas):
                continue
            self.ask(record, name, replicas)
            asked = self._asked[record.row.uid, name]
            asked.awaited = asyncio.get_running_loop().create_future()
            try:
                granted = await asked.awaited
            finally:
                asked.awaited = None
            if not granted:
                return name
        return None

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `reservation/<uid>` of a child hub came in."""
        child.exchange.discard(key)
        if value is None:
            return
        try:
            answer = pb.ReservationAnswer.FromString(value)
        except DecodeError:
            log.warning("unreadable reservation", child=child.name)
            return
        asked = self._asked.get((answer.uid, child.name))
        if asked is None or asked.granted or asked.generation != answer.generation:
            return
        if asked.timer is not None:
            asked.timer.cancel()
        asked.granted = answer.granted >= asked.replicas
        if not asked.granted:
            self.forget(answer.uid, child.name)
        self._tell(answer.uid, child.name, asked)

    def waiting(self, uid: str) -> tuple[str, ...]:
        """Child hubs that are asked, or that keep room, for a workload."""
        return tuple(name for one, name in self._asked if one == uid)

    def forget(self, uid: str, name: str) -> None:
        """The part was sent, or is not wanted there any more: whatever the hub keeps it may give away."""
        asked = self._asked.pop((uid, name), None)
        if asked is None:
            return
        if asked.timer is not None:
            asked.timer.cancel()
        if asked.awaited is not None and not asked.awaited.done():
            asked.awaited.set_result(False)  # the hub above has lost interest meanwhile
        child = self._inventory.find(name)
        if child is not None:
            self._sessions.delete(child, f"reservation/{uid}")

    def _silent(self, uid: str, name: str) -> None:
        log.info("a hub did not answer for its reservation", child=name, uid=uid)
        asked = self._asked[uid, name]
        self.forget(uid, name)
        self._tell(uid, name, asked)

    def _tell(self, uid: str, name: str, asked: Asked) -> None:
        if asked.awaited is None:
            self._settled(uid, name, asked.granted)
        elif not asked.awaited.done():
            asked.awaited.set_result(asked.granted)
