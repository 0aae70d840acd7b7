"""The dialing side of tunnels: a record asks for one, and a stream of the same link answers it.

    request(record) -> a stream to the hub; meanwhile way(request): the far side
                    -> on that stream `opened`, then bytes, both ways; or why not

The same for an agent, whose far side is its API server, and for a hub, whose far side is a tunnel to a child.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from arbora.errors import ArboraError, Exhausted, Unavailable
from arbora.rpc.status import detail_to_wire
from arbora.tunnel.ends import StreamEnd, TunnelEnd
from arbora.tunnel.splice import Passed, splice
from arbora.v1 import tunnel_pb2 as pb

log = structlog.get_logger(__name__)

OPEN_LIMIT = 200
"""Tunnels at once."""
SAY_SECONDS = 5.0
"""How long a stream's first word, or its end, may take."""
MAX_MESSAGE = 1000

Way = Callable[[pb.TunnelRequest], AbstractAsyncContextManager[TunnelEnd]]
"""Opens the far side. Raises ArboraError."""


class TunnelDialer:
    """Opens the tunnels that the hub at the other end of a link asks for."""

    def __init__(self, stream: Callable[[], Any], way: Way, own_path: Callable[[], str]) -> None:
        """stream: a new stream of TunnelService.Tunnel; raises Unavailable. own_path: for errors."""
        self._stream = stream
        self._way = way
        self._own_path = own_path
        self._tasks: asyncio.TaskGroup | None = None
        self._open = 0
        self._joined: dict[str, asyncio.Task[None]] = {}
        """Those on which bytes pass, by id."""

    def __len__(self) -> int:
        return self._open

    def request(self, data: bytes) -> None:
        """A record `tunnel/<id>` came in. Must be called on the loop."""
        try:
            request = pb.TunnelRequest.FromString(data)
        except DecodeError:
            log.warning("unreadable tunnel request")
            return
        if self._tasks is None:
            return
        self._open += 1
        self._tasks.create_task(self._serve(request), name=f"tunnel {request.id}")

    def cut(self, id: str) -> None:
        """The record `tunnel/<id>` came in with nothing in it: nobody needs the tunnel, if it is still there."""
        task = self._joined.get(id)
        if task is not None:
            task.cancel()

    async def run(self) -> None:
        """Until cancelled; open tunnels are cut then."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._tasks = None

    async def _serve(self, request: pb.TunnelRequest) -> None:
        passed, opened, why = Passed(), False, "the hub cut it"
        call: Any = None
        try:
            # Both sides at once: the hub takes up the stream while the far side is dialed.
            call = self._stream()
            if self._open > OPEN_LIMIT:
                raise Exhausted(f"{OPEN_LIMIT} tunnels are open", retry_after=5.0)
            async with self._way(request) as far:
                opened = True
                await self._join(request, call, far, passed)
                why = "both ways ended"
                await _finished(call)
        except ArboraError as error:
            why = str(error)
            if not opened and call is not None:
                await self._refuse(request, call, error)
        except Exception:
            # Not the end of all others.
            why = "a failure of our own"
            log.exception("tunnel_failed", id=request.id)
        finally:
            if call is not None:
                call.cancel()
            self._open -= 1
            log.info("tunnel_closed", id=request.id, why=why, down=passed.forth, up=passed.back)

    async def _join(self, request: pb.TunnelRequest, call: Any, far: TunnelEnd, passed: Passed) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._joined[request.id] = task
        try:
            try:
                async with asyncio.timeout(SAY_SECONDS):
                    await call.write(pb.TunnelChunk(opened=pb.TunnelOpened(id=request.id)))
            except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                raise Unavailable("the hub went away") from error
            log.info("tunnel_opened", id=request.id, to=request.path, requester=request.requester)
            await splice(StreamEnd(call.read, call.write, call.cancel), far, passed)
        finally:
            self._joined.pop(request.id, None)

    async def _refuse(self, request: pb.TunnelRequest, call: Any, error: ArboraError) -> None:
        log.warning("tunnel_refused", id=request.id, requester=request.requester, why=str(error))
        detail = detail_to_wire(error)
        detail.hop = detail.hop or self._own_path()
        # One that came from further down names the hop itself, and whoever hears this names it again.
        message = str(error).removeprefix(f"{error.hop}: ") if error.hop else str(error)
        refusal = pb.TunnelRefusal(detail=detail, message=message[:MAX_MESSAGE])
        try:
            async with asyncio.timeout(SAY_SECONDS):
                await call.write(pb.TunnelChunk(opened=pb.TunnelOpened(id=request.id, refusal=refusal)))
            await _finished(call)
        except (ArboraError, TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError) as failure:
            log.info("refusal_not_heard", id=request.id, why=str(failure))


async def _finished(call: Any) -> None:
    """Say that this is all, and let the hub end the stream."""
    try:
        async with asyncio.timeout(SAY_SECONDS):
            await call.done_writing()
            await call.code()
    except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
        call.cancel()
