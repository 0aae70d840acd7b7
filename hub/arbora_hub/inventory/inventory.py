"""The children of this hub: loaded at start, judged once a second, saved lazily.

Durable facts are written to the store first and changed in memory after; live facts are only in memory and
are saved now and then, so that a restarted hub can show the last known ones, marked stale.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import InvalidInput, NotFound, StorageFailed
from arbora.identity.names import Path
from arbora.mirror.exchange import Exchange
from arbora.v1 import member_pb2
from arbora_hub.changes import Changes
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.facts import keep_properties
from arbora_hub.inventory.lines import take_line
from arbora_hub.inventory.liveness import Liveness, Terms, judge
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import ChildRow

log = structlog.get_logger(__name__)

SAVE_SECONDS = 30.0
"""How often the last known status of children is saved."""

_SENTENCES = {
    Liveness.ONLINE: (NORMAL, "MemberOnline", "{} is online."),
    Liveness.SUSPECT: (WARNING, "MemberSuspect", "{} is not heard of; its lease still runs."),
    Liveness.LOST: (WARNING, "MemberLost", "{} is lost: its lease has run out."),
}


class Inventory:
    """All children, by name."""

    def __init__(self, store: Store, journal: Journal, terms: Terms) -> None:
        self._store = store
        self._journal = journal
        self._terms = terms
        self._children: dict[str, Child] = {}
        self._evicted: dict[str, ChildRow] = {}
        self._started = asyncio.get_running_loop().time()
        self._on_change: list[Callable[[Child], None]] = []
        self._on_capacity: list[Callable[[Child], None]] = []
        self._on_report: list[Callable[[Child, str], None]] = []
        self.changes = Changes()
        """Names of members that changed in a way that clients can see."""
        self.own_path = Path()
        self.inherited: Mapping[str, str] = {}
        """Labels that the hub above gave this one; every child has them too, beneath its own."""

    async def load(self) -> None:
        """Read every active child from the store."""

        async def read(tx: ReadTx) -> list[ChildRow]:
            return list(await tx.children.list())

        for row in await self._store.read(read):
            if row.state == "active":
                self._children[row.name] = _restored(row)
            else:
                self._evicted[row.name] = row
        self._judge_all()

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def find(self, name: str) -> Child | None:
        """The child `name`, evicted ones are not there."""
        return self._children.get(name)

    def row_of(self, name: str) -> ChildRow | None:
        """What is stored of `name`, evicted or not; None if it was never enrolled."""
        child = self._children.get(name)
        return child.row if child is not None else self._evicted.get(name)

    def resolve(self, text: str) -> Child:
        """The child that a client means by a path or a name. Raises InvalidInput, NotFound."""
        path = Path.parse(text)
        relative = path.relative_to(self.own_path) if text.startswith("/") else path
        child = (
            self._children.get(relative.labels[0]) if relative is not None and len(relative.labels) == 1 else None
        )
        if child is None:
            raise NotFound(
                f"there is no member {text} at this hub", hint="See `arbora members list` for those that are."
            )
        return child

    def path_of(self, child: Child) -> Path:
        """Where the child stands."""
        return self.own_path.child(child.name)

    def stand_at(self, path: Path) -> bool:
        """This hub has another path, and so have all children; whether that is so."""
        if path == self.own_path:
            return False
        self.own_path = path
        for name in self._children:
            self.changes.notify(name)
        return True

    def active(self, child: Child) -> bool:
        """Whether the child is still a member."""
        return self._children.get(child.name) is child

    def on_change(self, callback: Callable[[Child], None]) -> None:
        """Call `callback` after a child joined, left, or its labels, taints, cordon or liveness changed."""
        self._on_change.append(callback)

    def on_capacity(self, callback: Callable[[Child], None]) -> None:
        """Call `callback` after a child reported other GPUs than before."""
        self._on_capacity.append(callback)

    def inherit(self, labels: Mapping[str, str]) -> None:
        """The hub above gave this one other labels, and so all children."""
        if dict(labels) != dict(self.inherited):
            self.inherited = dict(labels)
            for child in tuple(self._children.values()):
                self._tell(child)

    def on_report(self, callback: Callable[[Child, str], None]) -> None:
        """Call `callback` with a child and a record's key after that record came in or went away."""
        self._on_report.append(callback)

    # durable changes

    async def admit(self, row: ChildRow) -> None:
        """A child was enrolled and its row is stored."""
        self._evicted.pop(row.name, None)
        child = self._children.get(row.name)
        if child is None:
            self._children[row.name] = child = _restored(row)
            self._journal.event(NORMAL, "MemberJoined", f"member/{row.name}", f"{row.name} joined as {row.kind}.")
        else:
            child.row = row
            self._journal.event(NORMAL, "MemberRejoined", f"member/{row.name}", f"{row.name} joined again.")
        self._tell(child)

    async def update(self, child: Child, change: Callable[[ChildRow], ChildRow]) -> None:
        """Change labels, taints or the cordon. Raises StorageFailed, and then nothing is changed."""

        async def write(tx: WriteTx) -> ChildRow:
            stored = await tx.children.get(child.name)
            if stored is None or stored.state != "active":
                raise NotFound(f"{child.name} is no longer a member")
            row = change(stored)
            await tx.children.put(row)
            return row

        child.row = await self._store.write(write)
        self._tell(child)

    async def evict(self, child: Child) -> None:
        """Deny the identity for good. Raises StorageFailed."""

        async def write(tx: WriteTx) -> None:
            stored = await tx.children.get(child.name)
            if stored is not None:
                await tx.children.put(replace(stored, state="evicted", serial_current="", serial_new=""))

        await self._store.write(write)
        child.row = replace(child.row, state="evicted", serial_current="", serial_new="")
        self._children.pop(child.name, None)
        self._evicted[child.name] = child.row
        self._journal.event(WARNING, "MemberEvicted", f"member/{child.name}", f"{child.name} was evicted.")
        self._tell(child)

    async def begin_session(self, child: Child, version: str, serial: str, promote: bool) -> int:
        """The next session epoch, durable. Promotes a renewed certificate at its first use."""

        async def write(tx: WriteTx) -> int:
            if promote:
                await tx.children.set_serials(child.name, serial, "", child.row.cert_not_after)
            return await tx.children.bump_epoch(child.name)

        epoch = await self._store.write(write)
        child.row = replace(child.row, session_epoch=epoch, version=version)
        if promote:
            child.row = replace(child.row, serial_current=serial, serial_new="")
        return epoch

    # live changes

    def connected(self, child: Child) -> None:
        """A session begins."""
        child.heard = child.connected_at = asyncio.get_running_loop().time()
        child.moved = False
        self._judge(child, child.heard)

    def disconnected(self, child: Child, sentence: str, *, moved: bool = False) -> None:
        """The session has ended; moved: because the child, a hub, has another parent now."""
        child.connected_at = None
        child.moved = moved
        if moved:
            self._journal.event(
                NORMAL, "MemberMoved", f"member/{child.name}", f"{child.name} went to another parent."
            )
        log.info("child disconnected", child=child.name, why=sentence)
        if self.active(child):
            self._judge(child, asyncio.get_running_loop().time())

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `status`, `sketch/...` or, from a hub, `member/<path>` came in."""
        try:
            if key.startswith("member/"):
                take_line(child, key, value)
                self._reported(child, key)
                return
            if key == "status" and value is not None:
                status = member_pb2.ClusterStatus.FromString(value)
                keep_properties(status, child.status)
                child.status = status
            elif key.startswith("sketch/"):
                sketch = member_pb2.Sketch.FromString(value) if value is not None else None
                if child.restored:
                    child.sketches.clear()
                    child.restored = False
                if sketch is None:
                    child.sketches.pop(key, None)
                else:
                    child.sketches[key] = sketch
        except (DecodeError, InvalidInput) as error:
            why = f" ({error})" if isinstance(error, InvalidInput) else ""
            self._journal.event(
                WARNING,
                "InvalidRecord",
                f"member/{child.name}",
                f"The record {key[:80]!r} can't be read{why}; it is left out.",
            )
            return
        child.fresh = True
        child.unsaved = True
        self.changes.notify(child.name)
        if key.startswith("sketch/"):
            for callback in self._on_capacity:
                callback(child)
        self._reported(child, key)

    def _reported(self, child: Child, key: str) -> None:
        for callback in self._on_report:
            callback(child, key)

    def told_all(self, child: Child) -> None:
        """All that the child has to say of its GPUs has arrived; what was saved before is no more."""
        if child.restored:
            child.sketches.clear()
            child.restored = False
            for callback in self._on_capacity:
                callback(child)

    async def run(self) -> None:
        """Judge liveness and save what was reported, until cancelled."""
        saved = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(1.0)
            self._judge_all()
            now = asyncio.get_running_loop().time()
            if now - saved >= SAVE_SECONDS:
                saved = now
                await self.save()

    async def save(self) -> None:
        """Save the last known status of children that reported something new."""
        unsaved = [child for child in self._children.values() if child.unsaved]
        if not unsaved:
            return
        now = time.time()
        blobs = {child.name: _summary(child).SerializeToString() for child in unsaved}
        for child in unsaved:
            child.unsaved = False

        async def write(tx: WriteTx) -> None:
            await tx.children.save_last(blobs, now)

        try:
            await self._store.write(write)
        except StorageFailed as error:
            log.warning("the children's status could not be saved", error=str(error))
            for child in unsaved:
                child.unsaved = True

    def _judge_all(self) -> None:
        now = asyncio.get_running_loop().time()
        for child in self._children.values():
            self._judge(child, now)

    def _judge(self, child: Child, now: float) -> None:
        liveness = (
            Liveness.LOST
            if child.moved
            else judge(
                connected=child.connected_at is not None,
                heard=child.heard,
                ever_connected=child.row.session_epoch > 0,
                now=now,
                started=self._started,
                terms=self._terms,
            )
        )
        if liveness is child.liveness:
            return
        child.liveness = liveness
        if liveness in _SENTENCES:
            severity, reason, sentence = _SENTENCES[liveness]
            self._journal.event(severity, reason, f"member/{child.name}", sentence.format(child.name))
        self._tell(child)

    def _tell(self, child: Child) -> None:
        self.changes.notify(child.name)
        for callback in self._on_change:
            callback(child)


def _restored(row: ChildRow) -> Child:
    """A child as the store knows it, with an empty exchange of a new epoch."""
    child = Child(row=row, exchange=Exchange(secrets.randbits(62) + 1))
    if row.last_status:
        try:
            summary = member_pb2.Member.FromString(row.last_status)
        except DecodeError:
            log.warning("the saved status can't be read", child=row.name)
            return child
        child.status = summary.status
        child.sketches = {f"saved/{index}": sketch for index, sketch in enumerate(summary.sketches)}
        child.restored = bool(child.sketches)
    return child


def _summary(child: Child) -> member_pb2.Member:
    summary = member_pb2.Member(sketches=child.sketches.values())
    if child.status is not None:
        summary.status.CopyFrom(child.status)
    return summary
