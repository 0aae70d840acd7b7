"""Sides of tunnels that a test plays: what it says is read, and what was written to it is there to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from arbora.errors import Unavailable
from arbora.v1 import tunnel_pb2 as pb


class Side:
    """A TunnelEnd in memory."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        """What was written to it."""
        self.ended = False
        """It was told that no more comes."""
        self.aborted = False
        self.room = asyncio.Event()
        """Cleared: it reads nothing, so whoever writes to it waits."""
        self.room.set()
        self.broken = False
        """Writing to it fails."""
        self.reads = 0
        """How often something was read from it."""
        self._said: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    def say(self, *pieces: bytes) -> None:
        """To be read from it; an empty one says that it will say no more."""
        for piece in pieces:
            self._said.put_nowait(piece)

    def fail(self, error: Exception) -> None:
        """Whoever reads gets this."""
        self._said.put_nowait(error)

    @property
    def text(self) -> bytes:
        """All that it heard."""
        return b"".join(self.heard)

    async def read(self) -> bytes:
        """See TunnelEnd."""
        self.reads += 1
        piece = await self._said.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def write(self, data: bytes) -> None:
        """See TunnelEnd."""
        await self.room.wait()
        if self.broken or self.aborted or self.ended:
            raise Unavailable("the side is gone")
        self.heard.append(data)

    async def end(self) -> None:
        """See TunnelEnd."""
        if self.broken or self.aborted:
            raise Unavailable("the side is gone")
        self.ended = True

    def abort(self) -> None:
        """See TunnelEnd."""
        self.aborted = True
        self.fail(Unavailable("the side was aborted"))


class Call:
    """The dialing side of a stream of TunnelService.Tunnel, with the hub's side played by a test."""

    def __init__(self) -> None:
        self.sent: list[pb.TunnelChunk] = []
        """What the hub has got."""
        self.done = False
        """The hub was told that this is all."""
        self.cancelled = False
        self.deaf = False
        """The hub takes nothing."""
        self.broken: Exception | None = None
        """What writing fails with."""
        self.over = asyncio.Event()
        """The hub has ended the stream."""
        self._coming: asyncio.Queue[Any] = asyncio.Queue()

    def hub_says(self, *chunks: pb.TunnelChunk) -> None:
        """Comes from the hub."""
        for chunk in chunks:
            self._coming.put_nowait(chunk)

    def hub_leaves(self) -> None:
        """It ends the stream without a word."""
        self._coming.put_nowait(grpc.aio.EOF)
        self.over.set()

    @property
    def kinds(self) -> list[str | None]:
        """Of what the hub has got."""
        return [chunk.WhichOneof("kind") for chunk in self.sent]

    async def read(self) -> Any:
        """As grpc.aio: whoever gives it up ends the stream."""
        try:
            return await self._coming.get()
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def write(self, chunk: pb.TunnelChunk) -> None:
        """As grpc.aio: whoever gives it up ends the stream."""
        if self.broken is not None:
            raise self.broken
        if self.deaf:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancel()
                raise
        self.sent.append(chunk)

    async def done_writing(self) -> None:
        """As grpc.aio."""
        self.done = True

    async def code(self) -> grpc.StatusCode:
        """As grpc.aio."""
        await self.over.wait()
        return grpc.StatusCode.CANCELLED if self.cancelled else grpc.StatusCode.OK

    def cancel(self) -> bool:
        """As grpc.aio."""
        self.cancelled = True
        self.hub_leaves()
        return True


def turns(condition: Callable[[], object], what: str, most: int = 200) -> Any:
    """Let the loop turn until the condition is true; for virtual time, which does not pass meanwhile."""

    async def until() -> None:
        for _ in range(most):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"{what}: not within {most} turns of the loop")

    return until()
