"""What this hub says upwards of everything below it: `status`, `sketch/<class>`, `member/<path>`.

    a child changed, a record came in -> what is due, when (`pace.py`) -> that child is read anew (`below.py`)
        sketch/<class>   at once, then once per coalescing time; at most 256 rows
        status           at once, then once a second
        member/<path>    at once, then once in five seconds each, if it changed
    a new parent -> everything anew

Reads the inventory and writes to the uplink, and must not do anything else. A hub without a parent only looks who
stands in two places, to tell.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

import structlog

from arbora.capacity.aggregate import TreeRow, class_rows_to_wire, record_keys
from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora.v1 import member_pb2
from arbora.version import __version__
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.below import Below
from arbora_hub.tree.fencing import Fenced
from arbora_hub.tree.pace import Pace
from arbora_hub.tree.subtree import HUB, age_of, branch_of

log = structlog.get_logger(__name__)

STATUS_SECONDS = 1.0
LINE_SECONDS = 5.0
STANDING_SECONDS = 1.0
"""Of a line that says that a member came, went or became healthy: no hop on the way up waits longer."""
AGE_SECONDS = 10.0
"""How often ages of children that are not present are looked at."""
LINES_AT_ONCE = 200
"""Lines that are put before others get a turn on the loop."""
MAX_LINES = 15_000
"""A hub with more members below it sends no lines: the parent bounds what it keeps of one child."""


class Outgoing(Protocol):
    """What is needed of the uplink."""

    @property
    def attached(self) -> bool:
        """Whether there is a parent."""

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record. Raises InvalidInput if it can't be sent."""

    def delete(self, key: str) -> None:
        """Delete a record."""

    def on_parent(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a new parent begins."""


class Upward:
    """Keeps the observed map of this hub current."""

    def __init__(
        self,
        inventory: Inventory,
        uplink: Outgoing,
        *,
        hub_id: str,
        placement_epoch: Callable[[], int],
        lines: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
        coalesce_seconds: float = 0.25,
        fenced: Callable[[Fenced], None] = lambda place: None,
    ) -> None:
        """placement_epoch: rises with every parent. lines: whether to send one for each member below.

        clock: loop time. wall: seconds since the epoch. coalesce_seconds: 0 sends every change at once.
        fenced: told once of each place that does not count because its hub or cluster stands elsewhere too.
        """
        self._inventory = inventory
        self._uplink = uplink
        self._hub_id = hub_id
        self._placement_epoch = placement_epoch
        self._lines_wanted = lines
        self._clock = clock
        self._wall = wall
        self._fenced = fenced
        self._told: frozenset[Fenced] = frozenset()
        self._below = Below()
        self._unread: set[str] = set()
        self._sketches = Pace(coalesce_seconds)
        self._status = Pace(STATUS_SECONDS)
        self._ages = Pace(AGE_SECONDS)
        self._claims = Pace(LINE_SECONDS)
        self._lines = Pace(LINE_SECONDS)
        self._standings = Pace(STANDING_SECONDS)
        """Lines that people wait for."""
        self._wake = asyncio.Event()
        self._lines_on = False
        self._sent: dict[str, tuple[TreeRow, ...]] = {}
        self._sent_lines: dict[str, bytes] = {}
        self._sent_standings: dict[str, object] = {}
        inventory.on_change(self._child_changed)
        inventory.on_report(self._reported)
        uplink.on_parent(self._parent_began)
        for child in inventory:
            self._child_changed(child)

    async def run(self) -> None:
        """Say what there is to say, until cancelled."""
        while True:
            self._wake.clear()
            due = min((each for pace in self._paces() if (each := pace.next_due()) is not None), default=None)
            now = self._clock()
            if due is None or due > now:
                try:
                    async with asyncio.timeout(None if due is None else due - now):
                        await self._wake.wait()
                except TimeoutError:
                    continue
            else:
                self.put_due(now)
                await asyncio.sleep(0)

    def put_due(self, now: float) -> None:
        """Say what is due at `now`, loop time."""
        if self._ages.take(now):
            self._grow_older(now)
        self._read(now)
        if self._claims.take(now):
            for path in self._below.refence_lines():
                for each in self._below.paths(path):
                    self._mark(self._lines, each)
            self._tell()
        sketches, status = self._sketches.take(now), self._status.take(now)
        if not self._uplink.attached:
            self._lines.clear()
            self._standings.clear()
            return
        if sketches:
            self._put_sketches()
        if status:
            self._put_status()
        for path in (*self._standings.take(now, LINES_AT_ONCE), *self._lines.take(now, LINES_AT_ONCE)):
            self._put_line(path)

    # what happens

    def _child_changed(self, child: Child) -> None:
        self._unread.add(child.name)
        self._mark(self._sketches)
        self._mark(self._status)
        # rare, and what people wait for: a member that came or went is shown at once
        self._lines.hurry(child.name, self._clock())
        self._wake.set()

    def _reported(self, child: Child, key: str) -> None:
        if key.startswith("member/"):
            self._mark(self._claims)
            below = key.partition("/")[2]
            path = f"{child.name}/{below}"
            news = _standing(child.lines.get(below)) != self._sent_standings.get(path)
            self._mark(self._standings if news else self._lines, path)
            return
        self._unread.add(child.name)
        self._mark(self._sketches)
        if key == "status":
            self._mark(self._status)
            self._mark(self._standings, child.name)
        # a line has something of both: GPUs, and a digest of the status
        self._mark(self._lines, child.name)

    def _parent_began(self) -> None:
        for pace in self._paces():
            pace.clear()
        self._sent.clear()
        self._sent_lines.clear()
        self._sent_standings.clear()
        self._lines_on = False
        self._mark(self._sketches)
        self._mark(self._status)
        self._mark(self._ages)

    def _mark(self, pace: Pace, key: str = "") -> None:
        if pace.mark(key, self._clock()):
            self._wake.set()

    def _paces(self) -> tuple[Pace, ...]:
        return self._sketches, self._status, self._ages, self._claims, self._lines, self._standings

    # reading

    def _read(self, now: float) -> None:
        """Read anew whoever changed."""
        refence = False
        for name in self._unread:
            before = self._below.branches.get(name)
            child = self._inventory.find(name)
            branch = branch_of(child, now, self._wall()) if child is not None else None
            refence |= self._below.replace(name, branch)
            changed = branch is None or (before is not None and before.liveness is not branch.liveness)
            if changed and before is not None and before.kind == HUB:
                for path in [each for each in self._sent_lines if each.startswith(f"{name}/")]:
                    self._mark(self._lines, path)
            if branch is not None and not branch.present:
                self._mark(self._ages)
        self._unread.clear()
        if refence:
            self._below.refence()
            self._tell()

    def _grow_older(self, now: float) -> None:
        """Whoever is not present has an age that grows, in steps."""
        for name, branch in self._below.branches.items():
            child = self._inventory.find(name)
            if branch.present or child is None:
                continue
            self._mark(self._ages)
            if age_of(child, now, self._wall()) != branch.age:
                self._unread.add(name)
                self._mark(self._sketches)

    def _tell(self) -> None:
        now = self._below.fenced
        for place in sorted(now - self._told):
            log.warning("in two places", path=place.path, counted=place.counted, uid=place.uid)
            self._fenced(place)
        self._told = now

    # saying

    def _put_sketches(self) -> None:
        by_class: defaultdict[GpuClass, list[TreeRow]] = defaultdict(list)
        for row in self._below.rows():
            by_class[row.gpu_class].append(row)
        keys = record_keys(by_class)
        for gpu_class, key in keys.items():
            rows = tuple(by_class[gpu_class])
            if self._sent.get(key) != rows:
                self._put(key, class_rows_to_wire(gpu_class, rows).SerializeToString(deterministic=True))
                self._sent[key] = rows
        for key in set(self._sent).difference(keys.values()):
            self._uplink.delete(key)
            del self._sent[key]

    def _put_status(self) -> None:
        self._switch_lines(self._lines_wanted and self._below.size <= MAX_LINES)
        status = member_pb2.ClusterStatus(
            agent_version=__version__,
            cluster_uid=self._hub_id,
            api_healthy=True,
            subtree=self._below.status(self._hub_id, self._placement_epoch(), lines=self._lines_on),
        )
        self._put("status", status.SerializeToString(deterministic=True))

    def _switch_lines(self, on: bool) -> None:
        if on == self._lines_on:
            return
        self._lines_on = on
        if on:
            for path in self._below.paths():
                self._mark(self._lines, path)
            return
        if self._lines_wanted:
            log.warning("too many members for a line each", members=self._below.size, limit=MAX_LINES)
        self._lines.clear()
        self._standings.clear()
        for path in self._sent_lines:
            self._uplink.delete(f"member/{path}")
        self._sent_lines.clear()
        self._sent_standings.clear()

    def _put_line(self, path: str) -> None:
        line = self._below.line(path) if self._lines_on else None
        if line is not None:
            value = line.SerializeToString(deterministic=True)
            if self._sent_lines.get(path) != value:
                self._put(f"member/{path}", value)
                self._sent_lines[path] = value
                self._sent_standings[path] = _standing(line)
        elif self._sent_lines.pop(path, None) is not None:
            self._sent_standings.pop(path, None)
            self._uplink.delete(f"member/{path}")

    def _put(self, key: str, value: bytes) -> None:
        try:
            self._uplink.put(key, value)
        except InvalidInput as error:
            # Too large, because of what children said of themselves: this hub goes on without that record.
            log.warning("a record can't be sent", key=key, bytes=len(value), error=str(error))


def _standing(line: member_pb2.MemberLine | None) -> object:
    """What of a line must not wait for long; None: it is gone."""
    return None if line is None else (line.liveness, line.api_healthy, bool(line.facts))
