"""The dialing side of tunnels: what a record asks for is opened and joined, or refused with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from arbora.errors import ArboraError, Exhausted, NotFound, PermissionDenied, Unavailable
from arbora.rpc.status import error_to_raise
from arbora.tunnel import dialing
from arbora.tunnel.dialing import SAY_SECONDS, TunnelDialer
from arbora.tunnel.ends import TunnelEnd
from arbora.tunnel.splice import IDLE_SECONDS
from arbora.v1 import tunnel_pb2 as pb
from tests.support.virtual_time import in_virtual_time
from tests.unit.tunnel.sides import Call, Side, turns

LOST = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "lost")


class Stream(Call):
    """Once the hub has ended it, nothing is left to cancel; as grpc.aio."""

    def cancel(self) -> bool:
        return not self.over.is_set() and super().cancel()


class World:
    """A member that opens its far side for a hub, both played."""

    def __init__(self) -> None:
        self.calls: list[Stream] = []
        """Streams to the hub, in order."""
        self.session = True
        """Whether there is one."""
        self.deaf = False
        """The hub takes nothing on new streams."""
        self.broken: Exception | None = None
        """What writing on new streams fails with."""
        self.refusal: ArboraError | None = None
        """Why there is no way."""
        self.failure: Exception | None = None
        """How the way fails, which it must not."""
        self.reachable = asyncio.Event()
        """Cleared: dialing the far side takes for ever."""
        self.reachable.set()
        self.asked: list[pb.TunnelRequest] = []
        self.far: list[Side] = []
        """The far sides that were opened; so for the next."""
        self.closed: list[Side] = []
        self.dialer = TunnelDialer(self._stream, self._way, lambda: "/eu/edge-7")

    def ask(self, id: str = "t1", **fields: Any) -> None:
        """The hub's record comes in."""
        self.dialer.request(pb.TunnelRequest(id=id, **fields).SerializeToString())

    async def opened(self, count: int = 1) -> tuple[Call, Side]:
        """The newest tunnel, once so many are open."""
        await turns(lambda: len(self.calls) == count and self.calls[-1].sent, "the hub hears of the tunnel")
        return self.calls[-1], self.far[-1]

    async def ended(self) -> None:
        """Until nothing is open."""
        await turns(lambda: len(self.dialer) == 0, "nothing is open")

    def _stream(self) -> Stream:
        if not self.session:
            raise Unavailable("there is no session")
        call = Stream()
        call.deaf, call.broken = self.deaf, self.broken
        self.calls.append(call)
        return call

    @asynccontextmanager
    async def _way(self, request: pb.TunnelRequest) -> AsyncIterator[TunnelEnd]:
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        if self.failure is not None:
            raise self.failure
        await self.reachable.wait()
        side = Side()
        self.far.append(side)
        try:
            yield side
        finally:
            self.closed.append(side)


def virtually(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        running = asyncio.create_task(world.dialer.run())
        await asyncio.sleep(0)
        await story(world)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(world.dialer) == 0
        assert set(world.closed) == set(world.far), "every far side that was opened is closed"

    in_virtual_time(main)


def refusal(call: Call) -> ArboraError:
    """As the hub will tell it on."""
    (only,) = call.sent
    told = only.opened.refusal
    return error_to_raise(told.detail, told.message, ArboraError)


def test_the_hub_hears_which_tunnel_it_is_and_bytes_follow_both_ways() -> None:
    async def story(world: World) -> None:
        world.ask("t7", path="paris/edge-7", requester="access/ana")
        call, far = await world.opened()
        assert call.sent == [pb.TunnelChunk(opened=pb.TunnelOpened(id="t7"))]
        assert not call.sent[0].opened.HasField("refusal")
        assert [(one.path, one.requester) for one in world.asked] == [("paris/edge-7", "access/ana")]
        call.hub_says(pb.TunnelChunk(data=b"hello"), pb.TunnelChunk(end=pb.TunnelEnd()))
        await turns(lambda: far.ended, "the far side hears it all")
        assert far.text == b"hello"
        far.say(b"answer", b"")
        await turns(lambda: call.done, "the hub hears that this is all")
        assert call.kinds == ["opened", "data", "end"]
        assert world.closed == [], "until the hub has ended the stream"
        call.over.set()
        await world.ended()
        assert not call.cancelled
        assert not far.aborted

    virtually(story)


def test_a_hub_that_does_not_end_the_stream_is_left_after_a_while() -> None:
    async def story(world: World) -> None:
        world.ask()
        call, far = await world.opened()
        call.hub_says(pb.TunnelChunk(end=pb.TunnelEnd()))
        far.say(b"")
        await turns(lambda: call.done, "the hub hears that this is all")
        await asyncio.sleep(SAY_SECONDS + 0.1)
        assert call.cancelled
        await world.ended()

    virtually(story)


@pytest.mark.parametrize(
    "error",
    [
        PermissionDenied("this member lets nobody in", hint="Ask its operator."),
        Unavailable("the API server can't be reached"),
        Exhausted("200 tunnels are open", retry_after=5.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_way_that_can_not_be_opened_is_refused_with_its_reason_and_who_says_so(error: ArboraError) -> None:
    async def story(world: World) -> None:
        world.refusal = error
        world.ask("t7")
        await turns(lambda: world.calls and world.calls[-1].done, "the hub hears the refusal")
        (call,) = world.calls
        told = refusal(call)
        assert call.sent[0].opened.id == "t7"
        assert (type(told), told.message, told.hint) == (type(error), error.message, error.hint)
        assert (told.retry_after, told.hop) == (error.retry_after, "/eu/edge-7")
        call.over.set()
        await world.ended()

    virtually(story)


def test_who_refused_further_down_stays_named_and_once() -> None:
    async def story(world: World) -> None:
        world.refusal = NotFound("/eu/edge-7/x: there is no such member")
        world.refusal.hop = "/eu/edge-7/x"
        world.ask()
        await turns(lambda: world.calls and world.calls[-1].sent, "the hub hears the refusal")
        told = refusal(world.calls[-1])
        assert (told.hop, told.message) == ("/eu/edge-7/x", "there is no such member")
        world.calls[-1].over.set()
        await world.ended()

    virtually(story)


def test_a_long_refusal_is_cut() -> None:
    async def story(world: World) -> None:
        world.refusal = Unavailable("x" * 100_000)
        world.ask()
        await turns(lambda: world.calls and world.calls[-1].sent, "the hub hears the refusal")
        assert len(refusal(world.calls[-1]).message) == dialing.MAX_MESSAGE
        world.calls[-1].over.set()
        await world.ended()

    virtually(story)


def test_as_many_as_are_allowed_are_open_at_once_and_the_next_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "OPEN_LIMIT", 2)

    async def story(world: World) -> None:
        for number in (1, 2):
            world.ask(f"t{number}")
            await world.opened(number)
        world.ask("t3")
        await turns(lambda: len(world.calls) == 3 and world.calls[2].sent, "the hub hears the refusal")
        told = refusal(world.calls[2])
        assert isinstance(told, Exhausted)
        assert told.retry_after == 5.0
        assert len(world.far) == 2
        world.calls[2].over.set()
        world.calls[0].hub_leaves()
        await turns(lambda: len(world.dialer) == 1, "one is over")
        world.ask("t4")
        await world.opened(4)

    virtually(story)


def test_what_can_not_be_read_opens_nothing_and_the_next_is_opened() -> None:
    async def story(world: World) -> None:
        world.dialer.request(b"\xff\xff")
        assert (len(world.dialer), world.asked) == (0, [])
        world.ask()
        await world.opened()

    virtually(story)


def test_without_a_session_nothing_is_dialed_and_the_next_is_opened_with_one() -> None:
    async def story(world: World) -> None:
        world.session = False
        world.ask("t1")
        await world.ended()
        assert (world.asked, world.far, world.calls) == ([], [], [])
        world.session = True
        world.ask("t2")
        await world.opened()

    virtually(story)


def test_the_hub_takes_up_the_stream_while_the_far_side_is_dialed_and_hears_nothing_too_early() -> None:
    async def story(world: World) -> None:
        world.reachable.clear()
        world.ask("t7")
        await turns(lambda: world.calls and world.asked, "both are under way")
        assert (world.calls[0].sent, world.far) == ([], [])
        world.reachable.set()
        call, _ = await world.opened()
        assert call.sent == [pb.TunnelChunk(opened=pb.TunnelOpened(id="t7"))]

    virtually(story)


def test_whoever_stops_it_while_the_far_side_is_dialed_leaves_no_stream_open() -> None:
    async def main() -> None:
        world = World()
        running = asyncio.create_task(world.dialer.run())
        await asyncio.sleep(0)
        world.reachable.clear()
        world.ask()
        await turns(lambda: world.calls and world.asked, "both are under way")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (world.calls[0].cancelled, world.far, len(world.dialer)) == (True, [], 0)

    in_virtual_time(main)


def test_a_failure_of_our_own_leaves_no_stream_open_and_the_next_is_opened() -> None:
    async def story(world: World) -> None:
        world.failure = RuntimeError("a mistake")
        world.ask("t1")
        await world.ended()
        assert world.calls[0].cancelled
        world.failure = None
        world.ask("t2")
        await world.opened(2)

    virtually(story)


def test_a_hub_that_leaves_while_the_far_side_is_dialed_leaves_nothing_open() -> None:
    async def story(world: World) -> None:
        world.reachable.clear()
        world.ask()
        await turns(lambda: world.calls and world.asked, "both are under way")
        world.calls[0].broken = LOST
        world.calls[0].hub_leaves()
        world.reachable.set()
        await world.ended()
        assert (world.closed, len(world.calls)) == (world.far, 1)
        assert len(world.far) == 1

    virtually(story)


def test_a_hub_that_does_not_take_that_it_is_open_is_left_after_a_while() -> None:
    async def story(world: World) -> None:
        world.deaf = True
        world.ask()
        await asyncio.sleep(SAY_SECONDS + 0.1)
        await world.ended()
        assert (world.calls[0].cancelled, world.closed) == (True, world.far)
        assert len(world.far) == 1

    virtually(story)


@pytest.mark.parametrize("error", [LOST, asyncio.InvalidStateError("the call is over")])
def test_a_hub_that_goes_away_before_it_has_heard_is_left(error: Exception) -> None:
    async def story(world: World) -> None:
        world.broken = error
        world.ask()
        await world.ended()
        assert len(world.calls) == 1, "and it hears of no refusal"

    virtually(story)


def test_a_hub_that_takes_no_refusal_is_left_after_a_while() -> None:
    async def story(world: World) -> None:
        world.refusal, world.deaf = Unavailable("no"), True
        world.ask()
        await asyncio.sleep(SAY_SECONDS + 0.1)
        await world.ended()
        assert world.calls[0].cancelled, "its stream stays open otherwise"

    virtually(story)


def test_a_far_side_that_is_lost_ends_the_stream_to_the_hub() -> None:
    async def story(world: World) -> None:
        world.ask()
        call, far = await world.opened()
        far.fail(Unavailable("the API server is gone"))
        await world.ended()
        assert call.cancelled
        assert far.aborted

    virtually(story)


def test_a_hub_that_cuts_the_stream_ends_the_far_side() -> None:
    async def story(world: World) -> None:
        world.ask()
        call, far = await world.opened()
        call.hub_leaves()
        await world.ended()
        assert far.aborted

    virtually(story)


def test_a_tunnel_that_idles_ends_on_both_sides() -> None:
    async def story(world: World) -> None:
        world.ask()
        call, far = await world.opened()
        await asyncio.sleep(IDLE_SECONDS + 1)
        await world.ended()
        assert (call.cancelled, far.aborted) == (True, True)

    virtually(story)


def test_whoever_stops_it_cuts_every_tunnel() -> None:
    async def main() -> None:
        world = World()
        running = asyncio.create_task(world.dialer.run())
        await asyncio.sleep(0)
        for number in (1, 2):
            world.ask(f"t{number}")
            await world.opened(number)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [call.cancelled for call in world.calls] == [True, True]
        assert [far.aborted for far in world.closed] == [True, True]
        world.ask("t3")
        assert (len(world.dialer), len(world.calls)) == (0, 2), "what comes later opens nothing"

    in_virtual_time(main)


def test_one_tunnel_that_ends_leaves_the_others_alone() -> None:
    async def story(world: World) -> None:
        for number in (1, 2):
            world.ask(f"t{number}")
            await world.opened(number)
        world.calls[0].hub_leaves()
        await turns(lambda: len(world.dialer) == 1, "one is over")
        world.calls[1].hub_says(pb.TunnelChunk(data=b"still here"))
        await turns(lambda: world.far[1].text == b"still here", "the other goes on")

    virtually(story)
