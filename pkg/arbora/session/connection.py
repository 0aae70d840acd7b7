"""One stream to the hub, from Hello to its end, as the child sees it.

    open():  Hello -> Welcome | Goodbye           (deadline 5 s)
    run():   one reader, one writer, one pulse    (heartbeat and watch over the hub's silence)

It ends in exactly one way, told as an `End`: what the hub said last, or that it was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from arbora.errors import ArboraError, DeadlineExceeded, Refused, Unavailable
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange, Frame
from arbora.mirror.inbox import Applied
from arbora.rpc.options import MAX_FRAME_BYTES
from arbora.rpc.status import error_from
from arbora.secret import Secret
from arbora.session import frames
from arbora.session.state import HINTS
from arbora.session.writer import Writer
from arbora.v1 import enrollment_pb2, session_pb2
from arbora.v1 import session_pb2_grpc as rpc
from arbora.v1.tunnel_pb2_grpc import TunnelServiceStub

log = structlog.get_logger(__name__)

OPEN_SECONDS = 5.0
"""From dialing to Welcome; a hub that needs longer is as good as down."""
HEARD_SECONDS = 0.8
"""How long a last word may take to be heard."""
SILENT_INTERVALS = 5.0
"""Heartbeat intervals without a word after which the hub counts as gone; it speaks every second one."""


class _Left(Exception):
    """The last word is said; unwinds the writer."""


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended."""

    sentence: str
    refusal: int = enrollment_pb2.REFUSAL_NONE
    reconnect_after: float | None = None
    """Seconds that the hub asked us to stay away."""


class Connection:
    """One stream. Make it, `open()` it, `run()` it; `close()` at any time."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        exchange: Exchange,
        on_applied: Callable[[Applied], None],
        bearer: Secret | None = None,
    ) -> None:
        """on_applied: called for each batch of the desired map, on the loop; must not block. bearer: proves who
        dials where the channel has no certificate."""
        metadata = (("authorization", f"Bearer {bearer.reveal()}"),) if bearer else None
        self._call = rpc.SessionServiceStub(channel).Connect(metadata=metadata)
        self._channel = channel
        self._exchange = exchange
        self._on_applied = on_applied
        self._writer = Writer(exchange, self._send, MAX_FRAME_BYTES)
        self._heard = 0.0
        self._farewell: session_pb2.Up | None = None
        self.welcome = session_pb2.Welcome()

    async def open(self, hello: session_pb2.Hello) -> session_pb2.Welcome:
        """Introduce ourselves. Raises Refused, Unavailable, DeadlineExceeded."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._call.write(session_pb2.Up(hello=hello))
                first = await self._call.read()
        except TimeoutError as error:
            self.close()
            raise DeadlineExceeded(f"the hub did not welcome us in {OPEN_SECONDS:g} s") from error
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from failure
        except asyncio.InvalidStateError as error:
            raise Unavailable("the hub closed the stream at once") from error
        if first is grpc.aio.EOF:
            raise await self._why_closed()
        assert isinstance(first, session_pb2.Down)
        kind = first.WhichOneof("frame")
        if kind == "goodbye":
            self.close()
            bye = first.goodbye
            raise Refused(
                bye.reason,
                bye.message,
                hint=HINTS.get(bye.reason, ""),
                retry_after=bye.retry_after.ToTimedelta().total_seconds()
                if bye.HasField("retry_after")
                else None,
            )
        if kind != "welcome":
            self.close()
            raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, "the hub's first frame is not Welcome")
        self.welcome = first.welcome
        self._heard = asyncio.get_running_loop().time()
        return self.welcome

    def tunnel(self) -> Any:
        """A new stream of TunnelService.Tunnel beside this one, over the same connection."""
        return TunnelServiceStub(self._channel).Tunnel()

    def wake(self) -> None:
        """The exchange may have something to say."""
        self._writer.wake()

    async def run(self) -> End:
        """Carry both maps until the stream ends. Call after the exchange was resumed."""
        tasks = [
            asyncio.create_task(self._read(), name="session-reader"),
            asyncio.create_task(self._write(), name="session-writer"),
            asyncio.create_task(self._pulse(), name="session-pulse"),
        ]
        try:
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # The reader knows best why: the hub's last word is there even if a write failed first.
            ends = [task.result() for task in tasks if task in done]
            return ends[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def leave(self, word: str = frames.STOPS) -> None:
        """End on purpose: the writer says goodbye, so that the hub knows that we did not vanish; `run` ends."""
        self._farewell = session_pb2.Up(
            goodbye=session_pb2.Goodbye(reason=enrollment_pb2.REFUSAL_NONE, message=word)
        )
        self._writer.beat()

    def close(self) -> None:
        """Cut the stream."""
        self._call.cancel()

    async def _send(self, frame: Frame | None) -> None:
        await self._call.write(frames.up(frame))
        if self._farewell is not None:
            await self._call.write(self._farewell)
            await self._call.done_writing()
            raise _Left

    async def _write(self) -> End:
        try:
            await self._writer.run()
        except asyncio.CancelledError:
            if _told_to_end():
                raise
            return End("the stream was cut")
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reader hears why; give it the moment to say so.
            await asyncio.sleep(0.1)
            return End("the stream was cut")
        except DeadlineExceeded as error:
            return End(str(error))
        except _Left:
            # The hub ends the stream once it has read our last word; cutting it before would lose the word.
            await asyncio.sleep(HEARD_SECONDS)
            return End("we left")
        raise AssertionError("the writer ends only by an error")

    async def _read(self) -> End:
        loop = asyncio.get_running_loop()
        while True:
            try:
                message = await self._call.read()
            except grpc.aio.AioRpcError as failure:
                return End(f"the stream was cut ({failure.code().name.lower()})")
            except asyncio.InvalidStateError:
                return End("the stream was cut")
            except asyncio.CancelledError:
                if _told_to_end():
                    raise
                return End("the stream was cut")
            if message is grpc.aio.EOF:
                return End(f"the stream was cut ({await self._why_closed()})")
            assert isinstance(message, session_pb2.Down)
            self._heard = loop.time()
            try:
                end = self._handle(message)
            except ArboraError as error:
                log.warning("the hub broke the protocol", error=str(error))
                return End(f"the hub broke the protocol: {error}", enrollment_pb2.REFUSAL_PROTOCOL)
            if end is not None:
                return end

    def _handle(self, message: session_pb2.Down) -> End | None:
        for ack in message.acks:
            self._exchange.acked(*wire.cursor_from_wire(ack))
        kind = message.WhichOneof("frame")
        if kind == "batch":
            applied = self._exchange.received(*wire.batch_from_wire(message.batch))
            if applied.gap:
                return End("records were lost on the way")
            self._on_applied(applied)
        if message.acks or kind == "batch":
            # After what came was handed over: somebody waits for that, and nobody for the acknowledgement.
            self._writer.wake()
        if kind == "goodbye":
            bye = message.goodbye
            after = bye.retry_after.ToTimedelta().total_seconds() if bye.HasField("retry_after") else None
            return End(bye.message, bye.reason, after)
        elif kind == "drain":
            return End(
                "the hub drains", reconnect_after=message.drain.reconnect_after.ToTimedelta().total_seconds()
            )
        elif kind == "welcome":
            return End("a second Welcome", enrollment_pb2.REFUSAL_PROTOCOL)
        return None

    async def _pulse(self) -> End:
        loop = asyncio.get_running_loop()
        interval = max(0.05, self.welcome.heartbeat_interval.ToTimedelta().total_seconds())
        self._writer.last_sent = loop.time()
        while True:
            now = loop.time()
            if now - self._heard > SILENT_INTERVALS * interval:
                return End(f"the hub said nothing for {now - self._heard:.0f} s")
            due = self._writer.last_sent + interval
            if now >= due:
                self._writer.beat()
                due = now + interval
            await asyncio.sleep(due - now)

    async def _why_closed(self) -> ArboraError:
        code = await self._call.code()
        details = await self._call.details()
        if code is grpc.StatusCode.OK:
            return Unavailable("the hub closed the stream")
        return error_from(
            grpc.aio.AioRpcError(
                code, await self._call.initial_metadata(), await self._call.trailing_metadata(), details=details
            )
        )


def _told_to_end() -> bool:
    """Whether this task is being cancelled. If not, a CancelledError only says that the call was: `close`."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
