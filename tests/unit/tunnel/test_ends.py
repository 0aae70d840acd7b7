"""Sides of a hop: a socket with a half-close of its own, and a stream of gRPC that speaks in chunks."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import Unavailable
from arbora.identity import keys
from arbora.identity.authority import make_authority, to_pem
from arbora.identity.issue import issue_server
from arbora.tunnel.ends import CHUNK, SocketEnd, StreamEnd
from arbora.v1 import tunnel_pb2 as pb
from tests.support.eventually import eventually
from tests.unit.tunnel.sides import Call

DATA, END = pb.TunnelChunk(data=b"x"), pb.TunnelChunk(end=pb.TunnelEnd())


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[SocketEnd, socket.socket]]:
    """A side, and the peer's bare socket."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours, limit=2 * CHUNK)
    end = SocketEnd(reader, writer)
    try:
        yield end, theirs
    finally:
        theirs.close()
        await end.close()


@asynccontextmanager
async def over_tcp() -> AsyncIterator[tuple[SocketEnd, socket.socket]]:
    """The same over TCP, which knows resets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        theirs, _ = await asyncio.get_running_loop().sock_accept(listening)
        end = SocketEnd(reader, writer)
        try:
            yield end, theirs
        finally:
            theirs.close()
            await end.close()


async def received(theirs: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < count and (more := await loop.sock_recv(theirs, 65536)):
        data += more
    return data


def reset(theirs: socket.socket) -> None:
    """Close it as a process does that was killed."""
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


async def test_a_sockets_bytes_go_both_ways() -> None:
    async with connected() as (end, theirs):
        await end.write(b"hello")
        assert await received(theirs, 5) == b"hello"
        theirs.send(b"answer")
        assert await end.read() == b"answer"


async def test_a_socket_that_is_told_the_end_still_hears_the_answer() -> None:
    async with connected() as (end, theirs):
        await end.write(b"all")
        await end.end()
        assert await received(theirs, 100) == b"all", "up to the end"
        theirs.send(b"answer")
        assert await end.read() == b"answer"


async def test_a_peer_that_ends_its_way_can_still_be_answered() -> None:
    async with connected() as (end, theirs):
        theirs.send(b"all")
        theirs.shutdown(socket.SHUT_WR)
        assert [await end.read(), await end.read()] == [b"all", b""]
        await end.write(b"answer")
        assert await received(theirs, 6) == b"answer"


async def test_what_is_read_at_once_is_bounded() -> None:
    async with connected() as (end, theirs):
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(theirs, bytes(4 * CHUNK)))
        got = 0
        while got < 4 * CHUNK:
            piece = await end.read()
            assert 0 < len(piece) <= CHUNK
            got += len(piece)
        await sending


async def test_writing_waits_for_a_peer_that_reads_nothing() -> None:
    async with connected() as (end, theirs):
        writing = asyncio.create_task(end.write(bytes(8 * CHUNK)))
        done, _ = await asyncio.wait([writing], timeout=0.1)
        assert not done
        assert len(await received(theirs, 8 * CHUNK)) == 8 * CHUNK
        await writing


async def test_a_reset_is_unavailable_to_who_reads_and_to_who_writes() -> None:
    async with over_tcp() as (end, theirs):
        reset(theirs)
        with pytest.raises(Unavailable, match="the connection was lost"):
            await end.read()
        with pytest.raises(Unavailable, match="the connection was lost"):
            while True:
                await end.write(b"x")


async def test_a_side_that_is_given_up_is_gone_for_its_peer_at_once() -> None:
    async with connected() as (end, theirs):
        theirs.send(b"unread")
        end.abort()
        with pytest.raises(OSError):  # a reset or a broken pipe, as the system has it
            while True:
                await asyncio.get_running_loop().sock_sendall(theirs, bytes(CHUNK))


async def test_closing_sends_what_is_written() -> None:
    async with connected() as (end, theirs):
        reading = asyncio.create_task(received(theirs, 10 * CHUNK))
        end._writer.write(bytes(4 * CHUNK))
        await end.close()
        assert len(await reading) == 4 * CHUNK


async def test_with_tls_the_end_is_that_of_the_connection_after_all_that_was_written(tmp_path: Path) -> None:
    now, key = datetime.now(UTC), keys.new_key()  # OpenSSL reads the clock itself
    authority = make_authority("prod.example.org", now)
    leaf = issue_server(authority, key.public_key(), ("127.0.0.1",), now)
    (tmp_path / "server.pem").write_bytes(keys.to_pem(key) + leaf.public_bytes(Encoding.PEM))
    serving, dialing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    serving.load_cert_chain(tmp_path / "server.pem")
    dialing.load_verify_locations(cadata=to_pem(authority)[0].decode())
    read: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = SocketEnd(reader, writer)
        await end.write(bytes(2 * CHUNK))
        await end.end()
        read.append(await end.read())
        await end.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=dialing)
        assert len(await reader.read()) == 2 * CHUNK
        writer.close()
        await writer.wait_closed()
        await eventually(lambda: read, "the server hears an end, too")
    assert read == [b""]


async def test_a_streams_chunks_are_bytes_until_its_end() -> None:
    call = Call()
    end = StreamEnd(call.read, call.write, call.cancel)
    call.hub_says(pb.TunnelChunk(data=b"one"), pb.TunnelChunk(data=b"two"), END)
    assert [await end.read() for _ in range(3)] == [b"one", b"two", b""]


async def test_what_says_nothing_here_is_passed_over() -> None:
    call = Call()
    end = StreamEnd(call.read, call.write, call.cancel)
    newer = pb.TunnelChunk.FromString(b"\xfa\x01\x03new")
    opened = pb.TunnelChunk(opened=pb.TunnelOpened(id="a"))
    call.hub_says(pb.TunnelChunk(), newer, pb.TunnelChunk(data=b""), opened, DATA)
    assert await end.read() == b"x", "and no empty piece, which would be an end"


async def test_a_stream_says_bytes_and_its_end_in_chunks() -> None:
    call = Call()
    end = StreamEnd(call.read, call.write, call.cancel)
    await end.write(b"x")
    await end.end()
    assert call.sent == [DATA, END]
    assert not call.cancelled


async def test_a_stream_that_ends_without_saying_so_was_cut() -> None:
    call = Call()
    end = StreamEnd(call.read, call.write, call.cancel)
    call.hub_says(DATA)
    call.hub_leaves()
    assert await end.read() == b"x"
    with pytest.raises(Unavailable, match="the tunnel was cut"):
        await end.read()


def failures() -> list[Exception]:
    lost = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="the words of grpc"
    )
    kinds = (grpc.aio.UsageError, grpc.aio.InternalError, grpc.aio.BaseError, asyncio.InvalidStateError)
    return [lost, *(kind("the words of grpc") for kind in kinds)]


@pytest.mark.parametrize("failure", failures(), ids=lambda failure: type(failure).__name__)
async def test_grpcs_errors_are_unavailable_with_their_words(failure: Exception) -> None:
    async def fail(*_: object) -> None:
        raise failure

    end = StreamEnd(fail, fail, lambda: None)
    for act in (end.read, lambda: end.write(b"x"), end.end):
        with pytest.raises(Unavailable, match=r"^the tunnel was cut: the words of grpc$"):
            await act()


async def test_a_stream_that_is_given_up_is_cancelled() -> None:
    call = Call()
    StreamEnd(call.read, call.write, call.cancel).abort()
    assert call.cancelled
