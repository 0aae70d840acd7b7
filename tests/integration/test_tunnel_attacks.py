"""What members can do with tunnels that an honest agent never does: it costs them their own and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from arbora.mirror.records import Lane
from arbora.rpc.status import error_from
from arbora.v1 import error_pb2
from arbora.v1 import tunnel_pb2 as pb
from arbora.v1.tunnel_pb2_grpc import TunnelServiceStub
from arbora_hub.tunnels import service
from tests.support.child import PlayedSession, enrolled, played, record
from tests.support.eventually import eventually
from tests.support.far import Far, echo, far_server
from tests.support.hub import RunningHub
from tests.support.reach import Answer, Reach, Streams, answer_of, dialled, head, reach, refusal, said_back, way

NOT_ASKED = "nobody waits for this tunnel"


class PlayedTunnel:
    """A stream of TunnelService.Tunnel that a member opens."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call: Any = TunnelServiceStub(channel).Tunnel()

    async def send(self, **kind: Any) -> None:
        """One piece, as far as the hub takes it."""
        try:
            async with asyncio.timeout(8.0):
                await self.call.write(pb.TunnelChunk(**kind))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return

    async def opened(self, id: str, **fields: Any) -> None:
        """Say which tunnel this is."""
        await self.send(opened=pb.TunnelOpened(id=id, **fields))

    async def data(self) -> bytes:
        """The next bytes from the client."""
        async with asyncio.timeout(8.0):
            while (chunk := await self.call.read()) is not grpc.aio.EOF:
                if chunk.WhichOneof("kind") == "data":
                    return bytes(chunk.data)
        raise AssertionError("the hub has ended the tunnel")

    async def heard_all(self) -> None:
        """Wait until the hub says that the client will say no more."""
        async with asyncio.timeout(8.0):
            while (await self.call.read()).WhichOneof("kind") != "end":
                pass

    async def refused(self) -> str:
        """Wait until the hub ends the stream; its words."""
        try:
            async with asyncio.timeout(8.0):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
                return await self.call.details() or ""
        except grpc.aio.AioRpcError as failure:
            return str(error_from(failure))


@dataclass
class Scene:
    """A hub with an honest member, into which a way is open, and a mallory that the test plays."""

    it: Reach
    far: Far
    honest: Streams
    mallory: PlayedSession

    @property
    def hub(self) -> RunningHub:
        return self.it.root

    def tunnel(self) -> PlayedTunnel:
        """A stream that mallory opens."""
        return PlayedTunnel(self.mallory.channel)

    def open_ids(self) -> list[str]:
        """Of all tunnels: mallory is to know everything."""
        return list(self.hub.hub.tunnels._asked)

    async def nothing_happened(self) -> None:
        """The hub is there, the honest way goes on, and there is a new one for who asks."""
        assert await said_back(self.honest)
        async with way(await self.it.token()) as streams:
            assert await said_back(streams)
        assert (await self.hub.admin.info()).id


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with far_server(echo) as far, reach(folder, far.address) as it:
        async with way(await it.token()) as honest:
            async with played(await enrolled(it.root, folder, "mallory")) as mallory:
                await mallory.introduce("mallory")
                yield Scene(it, far, honest, mallory)


@dataclass
class Wanted:
    """A client of mallory's, who has asked for a way."""

    id: str
    streams: Streams

    async def answer(self) -> Answer:
        return await answer_of(self.streams[0])


@asynccontextmanager
async def wanted(it: Scene) -> AsyncIterator[Wanted]:
    """A client asks the gateway for a way into mallory, and mallory has heard of it."""
    made = await it.hub.admin.connect_tokens.create("mallory")
    async with dialled(made) as streams:
        streams[1].write(head(made))
        before = set(it.open_ids())
        (id,) = await eventually(lambda: set(it.open_ids()) - before, "the member was asked")
        yield Wanted(id, streams)


async def test_attack_a_tunnel_that_nobody_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        one = it.tunnel()
        await one.opened("0123456789abcdef")
        assert NOT_ASKED in await one.refused()
        await it.nothing_happened()


async def test_attack_the_tunnel_of_another_member(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        (theirs,) = it.open_ids()
        for fields in ({}, {"refusal": pb.TunnelRefusal(message="no way")}):
            one = it.tunnel()
            await one.opened(theirs, **fields)
            assert NOT_ASKED in await one.refused()
        await it.nothing_happened()


async def test_attack_the_tunnel_of_another_member_before_that_has_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        victim = await enrolled(it.hub, tmp_path, "edge-8")
        async with played(victim) as session:
            await session.introduce("edge-8")
            made = await it.hub.admin.connect_tokens.create("edge-8")
            before = set(it.open_ids())
            async with dialled(made) as (reader, writer):
                writer.write(head(made))
                (id,) = await eventually(lambda: set(it.open_ids()) - before, "the member was asked")
                one = it.tunnel()
                await one.opened(id, refusal=pb.TunnelRefusal(message="no way"))
                assert NOT_ASKED in await one.refused()
                right = PlayedTunnel(session.channel)
                await right.opened(id)
                assert (await answer_of(reader)).status == 200
                await right.send(data=b"the right one")
                assert await reader.readexactly(13) == b"the right one"
                right.call.cancel()
        await it.nothing_happened()


async def test_attack_the_same_tunnel_twice_and_once_more_after_its_end(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with wanted(it) as client:
            first, second = it.tunnel(), it.tunnel()
            await first.opened(client.id)
            assert (await client.answer()).status == 200
            await second.opened(client.id)
            assert NOT_ASKED in await second.refused()
            await first.send(data=b"still the first")
            assert await client.streams[0].readexactly(15) == b"still the first"
            client.streams[1].write(b"hello")
            assert await first.data() == b"hello"
        await first.heard_all()
        await first.send(end=pb.TunnelEnd())
        await first.refused()
        third = it.tunnel()
        await third.opened(client.id)
        assert NOT_ASKED in await third.refused()
        await it.nothing_happened()


async def test_attack_a_tunnel_for_a_client_that_has_gone(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with wanted(it) as client:
            pass
        late = it.tunnel()
        await late.opened(client.id)
        await late.refused()
        await eventually(lambda: len(it.hub.hub.tunnels) == 1, "only the honest one is left")
        await it.nothing_happened()


@pytest.mark.parametrize("first", [{"data": b"x"}, {"end": pb.TunnelEnd()}, {}], ids=["data", "end", "nothing"])
async def test_attack_a_tunnel_that_does_not_say_which_it_is(tmp_path: Path, first: dict[str, Any]) -> None:
    async with scene(tmp_path) as it:
        one = it.tunnel()
        await one.send(**first)
        assert "the first message must say which tunnel this is" in await one.refused()
        await it.nothing_happened()


async def test_attack_a_tunnel_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_SECONDS", 0.3)
    async with scene(tmp_path) as it:
        one = it.tunnel()
        assert "nothing was said of a tunnel" in await one.refused()
        await it.nothing_happened()


async def test_attack_pieces_over_the_limit_end_the_tunnel_and_only_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with wanted(it) as client:
            one = it.tunnel()
            await one.opened(client.id)
            assert (await client.answer()).status == 200
            raw = it.mallory.channel.stream_stream("/arbora.v1.TunnelService/Tunnel")()
            await raw.write(b"\xff\xff\xff\xff no message")
            assert await raw.code() is not grpc.StatusCode.OK
            await one.send(data=bytes(2 << 20))
            assert await one.call.code() is not grpc.StatusCode.OK
            async with asyncio.timeout(8.0):
                assert await client.streams[0].read() == b""
        await it.nothing_happened()


async def test_attack_pieces_that_say_nothing_and_a_second_introduction_move_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with wanted(it) as client:
            one = it.tunnel()
            await one.opened(client.id)
            assert (await client.answer()).status == 200
            for _ in range(100):
                await one.send()
                await one.send(data=b"")
                await one.opened(it.open_ids()[0])
            await one.send(data=b"at last")
            assert await client.streams[0].readexactly(7) == b"at last"
            one.call.cancel()
        await it.nothing_happened()


async def test_attack_a_flood_of_tunnels_that_nobody_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:

        async def flood(count: int) -> None:
            for number in range(count):
                one = it.tunnel()
                await one.opened(f"{number:016x}")
                assert NOT_ASKED in await one.refused()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(flood(25))
            for _ in range(20):
                assert await said_back(it.honest)
        assert len(it.hub.hub.tunnels) == 1
        await it.nothing_happened()


async def test_attack_as_many_silent_tunnels_as_fit_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST_SECONDS", 1.0)
    async with scene(tmp_path) as it:
        silent = [it.tunnel() for _ in range(300)]
        await it.nothing_happened()
        for one in silent:
            one.call.cancel()


async def test_attack_a_flood_of_records_about_tunnels(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        records = [record(f"tunnel/{number:016x}", number + 1) for number in range(500)]
        await it.mallory.batch(*records)
        await it.mallory.acked(Lane.CONTROL, 500)
        await it.nothing_happened()
        assert (await it.hub.reasons("member/mallory")).count("UnknownRecord") == 1


async def test_attack_words_that_would_be_another_answer(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        async with wanted(it) as client:
            one = it.tunnel()
            wicked = "no\r\nSet-Cookie: x=1\r\n\r\nHTTP/1.1 200 OK" + "x" * 10_000
            detail = error_pb2.ErrorDetail(reason="NEVER_HEARD", hint=wicked, field=wicked, hop="/edge-7")
            await one.opened(client.id, refusal=pb.TunnelRefusal(message=wicked, detail=detail))
            answer = await client.answer()
            assert answer.status == 502
            # and it speaks for itself, not for the member that it names
            assert answer.reason.startswith("/mallory: no??Set-Cookie: x=1????HTTP/1.1 200 OK")
            assert len(answer.reason) <= 400
            assert "set-cookie" not in answer.headers
        await it.nothing_happened()


@pytest.mark.parametrize(
    "asked",
    [
        b"\xff\xff\xff\xff",
        pb.TunnelRequest(id="1", path="edge-7", patience=Duration(seconds=10**15)).SerializeToString(),
        pb.TunnelRequest(id="2", path="edge-7", patience=Duration(seconds=-5)).SerializeToString(),
        pb.TunnelRequest(id="3", path="no/../path").SerializeToString(),
        pb.TunnelRequest(id="4").SerializeToString(),
        pb.TunnelRequest(id="x" * 100_000, path="edge-7").SerializeToString(),
    ],
    ids=["no message", "endless patience", "negative patience", "no path", "itself", "a long name"],
)
async def test_attack_a_hub_above_that_asks_for_what_makes_no_sense(tmp_path: Path, asked: bytes) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, ("eu",)) as it:
        async with way(await it.token()) as honest:
            child = it.root.hub.inventory.find("eu")
            assert child is not None
            it.root.hub.sessions.put(child, "tunnel/1", asked, volatile=True)
            await eventually(lambda: not child.exchange.pending, "the hub below has it")
            assert await said_back(honest)
            async with way(await it.token()) as streams:
                assert await said_back(streams)
            assert (await it.owner.admin.info()).id


async def test_attack_a_member_that_is_asked_for_what_is_below_it(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        child = it.root.hub.inventory.find("edge-7")
        assert child is not None
        request = pb.TunnelRequest(id="1", path="something/else").SerializeToString()
        it.root.hub.sessions.put(child, "tunnel/1", request, volatile=True)
        await eventually(lambda: not child.exchange.pending, "the agent has it")
        async with way(await it.token()) as streams:
            assert await said_back(streams)
        assert far.accepted == 1
        assert (await refusal(await it.token(), user="edge-7.something")).status == 403
