"""One session as the accepting end sees it: one reader (the RPC's own task), one writer, one way to end it.

Used by a hub for its children and by a cluster's agent for the agents of its nodes. Who may have a session, and
what its records mean, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import grpc
import structlog

from arbora.errors import DeadlineExceeded, InvalidInput
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange, Frame
from arbora.mirror.inbox import Applied
from arbora.rpc.guard import Context
from arbora.rpc.options import MAX_FRAME_BYTES
from arbora.session import frames
from arbora.session.writer import WRITE_SECONDS, Writer
from arbora.v1 import enrollment_pb2, session_pb2

log = structlog.get_logger(__name__)

FAREWELL_SECONDS = 2.0
MAX_RECORDS = 20_000
"""Records that one child may keep here; values are bounded by the mirror."""


class Party(Protocol):
    """Who is at the other end."""

    @property
    def name(self) -> str:
        """Its name here."""

    @property
    def exchange(self) -> Exchange:
        """Both maps; they outlive the session."""

    heard: float | None
    """Loop time of its last frame."""


P = TypeVar("P", bound=Party)


class Accepted(Generic[P]):
    """Carries both maps for one child until it ends."""

    __slots__ = (
        "_applied",
        "_beat_after",
        "_context",
        "_ending",
        "_farewell",
        "_task",
        "_writer",
        "child",
        "epoch",
        "instance_id",
        "moved",
        "said_goodbye",
    )

    def __init__(
        self,
        child: P,
        epoch: int,
        instance_id: str,
        context: Context,
        heartbeat_interval: float,
        applied: Callable[[P, Applied], None],
    ) -> None:
        """applied: called for each batch of the observed map, on the loop; must not block."""
        self.child = child
        self.epoch = epoch
        self.instance_id = instance_id
        self.said_goodbye = False
        """The child ended the session on purpose."""
        self.moved = False
        """And it said that it went to another parent."""
        self._context = context
        self._applied = applied
        self._beat_after = 1.5 * heartbeat_interval
        self._writer = Writer(child.exchange, self._send, MAX_FRAME_BYTES)
        self._task: asyncio.Task[None] | None = None
        self._farewell: session_pb2.Down | None = None
        self._ending = False

    def wake(self) -> None:
        """The exchange may have something to say."""
        self._writer.wake()

    def end(self, farewell: session_pb2.Down | None) -> None:
        """End the session; `farewell` is the hub's last word, None where nobody would hear it."""
        if not self._ending:
            self._ending = True
            self._farewell = farewell
            if self._task is not None:
                self._task.cancel()

    async def run(self, welcome: session_pb2.Welcome) -> str:
        """Until the session ends; returns the sentence that says how."""
        self._task = asyncio.current_task()
        if self._ending:
            # Ended by somebody between acceptance and here.
            return await self._say_farewell()
        self._writer.last_sent = asyncio.get_running_loop().time()
        writing = asyncio.create_task(self._write(welcome), name="session-writer")
        del welcome  # said once; the session may last for weeks
        try:
            return await self._read()
        except asyncio.CancelledError:
            if not self._ending or self._task is None:
                raise
            self._task.uncancel()
            if self._farewell is not None:
                # A write that is abandoned destroys the stream, and the last word with it.
                self._writer.finish()
                await asyncio.wait((writing,), timeout=FAREWELL_SECONDS)
            return await self._say_farewell()
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            self._task = None

    async def _say_farewell(self) -> str:
        farewell = self._farewell
        if farewell is None:
            return "the stream was cut"
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._context.write(farewell)
        except Exception as error:  # noqa: BLE001 - a last word may be lost, and grpc has many ways to say so
            log.debug("farewell not delivered", child=self.child.name, error=str(error))
        if farewell.HasField("drain"):
            return "the hub drains"
        return farewell.goodbye.message

    async def _send(self, frame: Frame | None) -> None:
        await self._context.write(frames.down(frame))

    async def _write(self, welcome: session_pb2.Welcome) -> None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._context.write(session_pb2.Down(welcome=welcome))
            del welcome
            await self._writer.run()
        except asyncio.CancelledError:
            raise
        except DeadlineExceeded as error:
            log.warning("slow child", child=self.child.name, epoch=self.epoch, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a write raises, the stream is gone
            log.debug("write failed", child=self.child.name, epoch=self.epoch, error=str(error))
        self.end(None)

    async def _read(self) -> str:
        clock = asyncio.get_running_loop().time
        child, writer = self.child, self._writer
        while True:
            message = await self._context.read()
            if message is grpc.aio.EOF:
                return "the child left" if self.said_goodbye else "the stream was lost"
            child.heard = now = clock()
            try:
                if self._handle(message):
                    writer.wake()
            except InvalidInput as error:
                # The last word waits for the writer, which may be in the middle of a frame.
                self.end(frames.goodbye(enrollment_pb2.REFUSAL_PROTOCOL, f"protocol error: {error}"))
                continue
            if now - writer.last_sent >= self._beat_after:
                writer.beat()
            del message  # or an idle session would hold its last one until the next comes

    def _handle(self, message: session_pb2.Up) -> bool:
        """Returns whether there may be something to send now."""
        exchange = self.child.exchange
        for ack in message.acks:
            exchange.acked(*wire.cursor_from_wire(ack))
        kind = message.WhichOneof("frame")
        if kind == "batch":
            applied = exchange.received(*wire.batch_from_wire(message.batch))
            if applied.gap:
                raise InvalidInput("records were lost on the way", field="batch")
            if exchange.received_count > MAX_RECORDS:
                raise InvalidInput(f"more than {MAX_RECORDS} records", field="batch")
            self._applied(self.child, applied)
            return True
        if kind == "goodbye":
            self.said_goodbye = True
            self.moved = message.goodbye.message == frames.MOVED
        elif kind == "hello":
            raise InvalidInput("a second Hello", field="frame")
        return bool(message.acks)
