"""The last desired state and the last reports on disk, so that an agent that restarts without a link knows
what it is to run and what has already run to its end, and resumes with only what changed. Volatile records
(token requests) are never written.

One file, replaced as a whole: each lane as the batch that would bring an empty inbox there, then one batch
with the reports.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import InvalidInput, StorageFailed
from arbora.files import write_atomic
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Inbox
from arbora.mirror.records import Cursor, Lane
from arbora.v1 import session_pb2, workload_pb2
from arbora.workloads.model import AssignmentStatus
from arbora.workloads.wire import status_from_wire

log = structlog.get_logger(__name__)

KEPT_KINDS = frozenset({"assignment", "settings"})
SAVE_SECONDS = 0.2
"""Between two writes at least; what is lost with a crash in between is sent again."""
_MAGIC = b"arbora-journal-1\n"
_LENGTH = struct.Struct(">Q")


class Journal:
    """Keeps what an exchange has received."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "desired.journal"
        self._dirty = asyncio.Event()
        self._reports: dict[str, bytes] = {}

    def last_status(self, uid: str) -> AssignmentStatus | None:
        """What was last reported of a workload, also before a restart."""
        data = self._reports.get(uid)
        return status_from_wire(workload_pb2.AssignmentStatus.FromString(data)) if data is not None else None

    def reported(self, uid: str, status: bytes | None) -> None:
        """A workload's status (serialized) was reported, or is forgotten."""
        if status is None:
            self._reports.pop(uid, None)
        else:
            self._reports[uid] = status
        self._dirty.set()

    async def load(self) -> dict[Lane, Inbox]:
        """What was kept; nothing if there is none or it can't be read, and then the hub sends all of it."""
        try:
            inboxes, self._reports = await asyncio.to_thread(_read, self._path)
            return inboxes
        except FileNotFoundError:
            return {}
        except (OSError, DecodeError, InvalidInput, ValueError) as error:
            log.warning("the journal can't be read; the hub will send everything", error=str(error))
            return {}

    def touch(self) -> None:
        """Something was received."""
        self._dirty.set()

    async def run(self, exchange: Exchange) -> None:
        """Write whenever something was received, until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self.save(exchange)
            await asyncio.sleep(SAVE_SECONDS)

    async def save(self, exchange: Exchange) -> None:
        """Write now. A disk that can't be written costs only the head start after a restart."""
        lanes = {lane: (exchange.inbox(lane).cursor, exchange.inbox(lane).items) for lane in Lane}
        data = _encode(lanes, self._reports)
        try:
            await asyncio.to_thread(write_atomic, self._path, data, 0o600)
        except StorageFailed as error:
            log.warning("the journal can't be written", error=str(error))


def _encode(lanes: Mapping[Lane, tuple[Cursor, Mapping[str, bytes]]], reports: Mapping[str, bytes]) -> bytes:
    messages = []
    for lane, (cursor, items) in lanes.items():
        kept = [(key, value) for key, value in items.items() if key.partition("/")[0] in KEPT_KINDS]
        message = session_pb2.Batch(lane=wire.LANE_TO_WIRE[lane], epoch=cursor.epoch, upto=cursor.version)
        for key, value in kept:
            message.records.add(key=key, value=value)
        messages.append(message)
    messages.append(session_pb2.Batch())
    for uid, status in reports.items():
        messages[-1].records.add(key=uid, value=status)
    parts = [_MAGIC]
    for message in messages:
        data = message.SerializeToString(deterministic=True)
        parts += [_LENGTH.pack(len(data)), data]
    return b"".join(parts)


def _read(path: Path) -> tuple[dict[Lane, Inbox], dict[str, bytes]]:
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise InvalidInput(f"{path} is no journal")
    inboxes: dict[Lane, Inbox] = {}
    reports: dict[str, bytes] = {}
    offset = len(_MAGIC)
    while offset < len(data):
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if offset + length > len(data):
            raise InvalidInput(f"{path} was cut off")
        message = session_pb2.Batch.FromString(data[offset : offset + length])
        offset += length
        items = {record.key: record.value for record in message.records}
        if message.lane:
            inboxes[Lane(message.lane)] = Inbox(items, Cursor(message.epoch, message.upto))
        else:
            reports = items
    return inboxes, reports
