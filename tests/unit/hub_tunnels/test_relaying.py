"""A tunnel that the hub above asks for: opened to a child, and joined to a stream up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path as Folder

import grpc
import pytest

from arbora.errors import Unavailable
from arbora.tunnel.dialing import TunnelDialer
from arbora.v1 import error_pb2
from arbora.v1 import tunnel_pb2 as pb
from arbora_hub.tunnels.opening import OPEN_SECONDS, Tunnels
from arbora_hub.tunnels.relaying import relay
from tests.support.eventually import eventually
from tests.support.joined import Wire, line_of_hubs
from tests.unit.tunnel.sides import Call, Side

LOST = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "lost")


class Above:
    """What is used of the uplink, with the hub above played."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.discarded: list[str] = []
        self.session = True
        self._observers: dict[str, Callable[[str, bytes | None], None]] = {}

    def observe(self, kind: str, observer: Callable[[str, bytes | None], None]) -> None:
        self._observers[kind] = observer

    def discard(self, key: str) -> None:
        self.discarded.append(key)

    def tunnel(self) -> Call:
        if not self.session:
            raise Unavailable("there is no session with the hub above")
        self.calls.append(Call())
        return self.calls[-1]

    def ask(self, path: str = "edge-7", seconds: float | None = None, id: str = "up1") -> None:
        """The hub above puts a record."""
        request = pb.TunnelRequest(id=id, path=path, requester="access/ana")
        if seconds is not None:
            request.patience.FromTimedelta(timedelta(seconds=seconds))
        self._observers["tunnel"](f"tunnel/{id}", request.SerializeToString())

    def take_back(self, id: str = "up1") -> None:
        """It deletes the record."""
        self._observers["tunnel"](f"tunnel/{id}", None)


class Middle:
    """The hub /eu between the one above and its member edge-7."""

    def __init__(self, above: Above, below: Wire, tunnels: Tunnels, dialer: TunnelDialer) -> None:
        self.above, self.below, self.tunnels, self.dialer = above, below, tunnels, dialer

    async def asked(self) -> pb.TunnelRequest:
        """What the member is asked."""
        await eventually(lambda: self.below.down, "the member is asked")
        return pb.TunnelRequest.FromString(self.below.down[-1][1])

    async def told(self) -> pb.TunnelOpened:
        """What the hub above hears first."""
        await eventually(lambda: self.above.calls and self.above.calls[-1].sent, "the hub above hears of it")
        return self.above.calls[-1].sent[0].opened

    async def ended(self) -> None:
        """Until nothing is open here."""
        for call in self.above.calls:
            call.over.set()
        await eventually(lambda: len(self.dialer) == len(self.tunnels) == 0, "nothing is open")


@asynccontextmanager
async def middle(folder: Folder) -> AsyncIterator[Middle]:
    async with line_of_hubs(folder, "eu") as hubs:
        inventory, above, below = hubs[1].inventory, Above(), Wire()
        tunnels = Tunnels(below, inventory)
        dialer = relay(above, tunnels, inventory)  # type: ignore[arg-type]
        running = asyncio.create_task(dialer.run())
        await asyncio.sleep(0)
        try:
            yield Middle(above, below, tunnels, dialer)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_bytes_go_through_from_the_hub_above_to_the_member(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask()
        asked = hub.tunnels.arrived("edge-7", pb.TunnelOpened(id=(await hub.asked()).id))
        side = Side()
        asked.came.set_result(side)
        assert (await hub.told()) == pb.TunnelOpened(id="up1"), "the id that the hub above gave it"
        (call,) = hub.above.calls
        call.hub_says(pb.TunnelChunk(data=b"hello"), pb.TunnelChunk(end=pb.TunnelEnd()))
        await eventually(lambda: side.ended, "the member heard it all")
        side.say(b"answer", b"")
        await eventually(lambda: call.done, "the hub above heard it all")
        assert side.text == b"hello"
        assert [chunk.data for chunk in call.sent[1:-1]] == [b"answer"]
        await hub.ended()
        assert asked.over.is_set()


async def test_the_member_hears_who_asked_and_that_it_came_from_above(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask()
        request = await hub.asked()
        assert (request.requester, request.path) == ("parent/access/ana", "")
        assert request.id != "up1", "ids are of one link"


async def test_the_record_is_consumed_whether_it_was_put_or_taken_back(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask()
        assert hub.above.discarded == ["tunnel/up1"]
        await hub.asked()
        hub.above.take_back("other")
        assert hub.above.discarded == ["tunnel/up1", "tunnel/other"]
        assert len(hub.below.down) == len(hub.tunnels) == 1


@pytest.mark.parametrize(
    ("given", "used"), [(4.0, 4.0), (None, OPEN_SECONDS), (0.0, OPEN_SECONDS), (3600.0, OPEN_SECONDS)]
)
async def test_it_waits_as_long_as_the_hub_above_but_no_longer_than_any(
    tmp_path: Folder, given: float | None, used: float
) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask(seconds=given)
        assert (await hub.asked()).patience.ToTimedelta().total_seconds() == used


async def test_a_members_refusal_goes_up_with_its_name(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask()
        detail = error_pb2.ErrorDetail(reason="PERMISSION_DENIED", hint="Ask it.")
        refusal = pb.TunnelRefusal(detail=detail, message="it lets nobody in")
        hub.tunnels.arrived("edge-7", pb.TunnelOpened(id=(await hub.asked()).id, refusal=refusal))
        told = (await hub.told()).refusal
        assert (told.detail.reason, told.detail.hint) == ("PERMISSION_DENIED", "Ask it.")
        assert (told.detail.hop, told.message) == ("/eu/edge-7", "it lets nobody in"), "named once at every hop"
        await hub.ended()


async def test_what_this_hub_refuses_it_refuses_in_its_own_name(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask("ghost")
        told = (await hub.told()).refusal
        assert (told.detail.reason, told.detail.hop) == ("NOT_FOUND", "/eu")
        assert "no member ghost" in told.message
        assert hub.below.down == []
        await hub.ended()


async def test_a_member_that_does_not_dial_back_is_a_refusal_in_time(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask(seconds=0.05)
        assert (await hub.told()).refusal.detail.reason == "DEADLINE_EXCEEDED"
        await hub.ended()


async def test_for_a_hub_above_that_is_gone_the_member_is_not_even_asked(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.session = False
        hub.above.ask()
        await hub.ended()
        assert (hub.below.down, hub.above.calls) == ([], [])


async def test_a_hub_above_that_goes_meanwhile_leaves_nothing_open_below(tmp_path: Folder) -> None:
    async with middle(tmp_path) as hub:
        hub.above.ask()
        asked = hub.tunnels.arrived("edge-7", pb.TunnelOpened(id=(await hub.asked()).id))
        hub.above.calls[0].broken = LOST
        asked.came.set_result(Side())
        await hub.ended()
        assert asked.over.is_set()
