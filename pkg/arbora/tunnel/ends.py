"""One side of a hop: bytes in, bytes out, each way with an end of its own.

    SocketEnd    a TCP connection, with TLS or without
    StreamEnd    a stream of gRPC, at either side of it

Back-pressure is that of HTTP/2 and TCP: whoever reads slowly makes the other side wait, and nothing piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import grpc

from arbora.errors import Unavailable
from arbora.v1 import tunnel_pb2 as pb

CHUNK = 256 * 1024
"""Bytes of one read, and of one message at most."""
CLOSE_SECONDS = 5.0
_GONE = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""All that grpc raises for a stream that has ended: at the server's side there is more than one kind of it."""


class TunnelEnd(Protocol):
    """One side. Reading and writing may go on at the same time, each by one task."""

    async def read(self) -> bytes:
        """The next bytes; empty: the other side will say no more. Raises Unavailable if it is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns once there is room for more. Raises Unavailable if the other side is gone."""
        ...

    async def end(self) -> None:
        """Say that no more will be written. Raises Unavailable."""
        ...

    def abort(self) -> None:
        """Give up both ways at once."""
        ...


class SocketEnd:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """See TunnelEnd."""
        try:
            return await self._reader.read(CHUNK)
        except OSError as error:
            raise Unavailable(f"the connection was lost: {error}") from error

    async def write(self, data: bytes) -> None:
        """See TunnelEnd."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"the connection was lost: {error}") from error

    async def end(self) -> None:
        """See TunnelEnd. TLS knows no half-close here: the whole connection ends, once all is written."""
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            else:
                self._writer.close()
        except OSError as error:
            raise Unavailable(f"the connection was lost: {error}") from error

    def abort(self) -> None:
        """See TunnelEnd."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is written, then close."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


class StreamEnd:
    """A stream of gRPC, after its first message."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Any]],
        write: Callable[[pb.TunnelChunk], Awaitable[None]],
        abort: Callable[[], object],
    ) -> None:
        """read: the next message, or grpc.aio.EOF. abort: ends the stream at once."""
        self._read = read
        self._write = write
        self._abort = abort

    async def read(self) -> bytes:
        """See TunnelEnd."""
        try:
            while True:
                chunk = await self._read()
                if chunk is grpc.aio.EOF:
                    raise Unavailable("the tunnel was cut")
                kind = chunk.WhichOneof("kind")
                if kind == "end":
                    return b""
                if kind == "data" and chunk.data:
                    data: bytes = chunk.data
                    return data
        except _GONE as error:
            raise Unavailable(f"the tunnel was cut: {_words(error)}") from error

    async def write(self, data: bytes) -> None:
        """See TunnelEnd."""
        await self._send(pb.TunnelChunk(data=data))

    async def end(self) -> None:
        """See TunnelEnd."""
        await self._send(pb.TunnelChunk(end=pb.TunnelEnd()))

    def abort(self) -> None:
        """See TunnelEnd."""
        self._abort()

    async def _send(self, chunk: pb.TunnelChunk) -> None:
        try:
            await self._write(chunk)
        except _GONE as error:
            raise Unavailable(f"the tunnel was cut: {_words(error)}") from error


def _words(error: Exception) -> str:
    return str(error.details()) if isinstance(error, grpc.aio.AioRpcError) else str(error)
