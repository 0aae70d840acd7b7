"""A child is asked for a tunnel: it dials back, refuses, or is too late; and nothing is left of the question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as Folder
from typing import Any

import pytest

from arbora.errors import (
    ArboraError,
    DeadlineExceeded,
    Exhausted,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from arbora.tunnel.ends import TunnelEnd
from arbora.v1 import error_pb2
from arbora.v1 import tunnel_pb2 as pb
from arbora_hub.tunnels import opening
from arbora_hub.tunnels.opening import MAX_REQUESTER, OPEN_SECONDS, Asked, Tunnels
from tests.support.eventually import eventually
from tests.support.joined import JoinedHub, Wire, line_of_hubs
from tests.unit.tunnel.sides import Side


class Hub:
    """A hub with children; what goes down to them is on a wire, what they say comes by `says`."""

    def __init__(self, joined: JoinedHub) -> None:
        self.inventory = joined.inventory
        self.wire = Wire()
        self.tunnels = Tunnels(self.wire, self.inventory)
        self.inventory.on_change(self.tunnels.child_changed)

    @property
    def records(self) -> list[str]:
        """That lie in a child's map now."""
        return [key for key, _ in self.wire.down if key not in self.wire.deleted]

    async def asked(self, count: int = 1) -> pb.TunnelRequest:
        """The newest request, once there are so many."""
        await eventually(lambda: len(self.wire.down) == count, "a child is asked")
        key, value = self.wire.down[-1]
        request = pb.TunnelRequest.FromString(value)
        assert key == f"tunnel/{request.id}"
        return request

    def dials(self, child: str, id: str) -> tuple[Asked, Side]:
        """The child opens the tunnel. Raises InvalidInput."""
        asked, side = self.tunnels.arrived(child, pb.TunnelOpened(id=id)), Side()
        asked.came.set_result(side)
        return asked, side

    def refuses(self, child: str, id: str, reason: str, message: str, **detail: Any) -> None:
        """The child refuses it."""
        wire = error_pb2.ErrorDetail(reason=reason, **detail)
        self.tunnels.arrived(
            child, pb.TunnelOpened(id=id, refusal=pb.TunnelRefusal(detail=wire, message=message))
        )


class Caller:
    """Someone who wants a way, and holds on to it until he is told to leave."""

    def __init__(self, hub: Hub, path: str, requester: str = "access/ana", seconds: float = OPEN_SECONDS) -> None:
        self.way: TunnelEnd | None = None
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(hub, path, requester, seconds))

    async def _hold(self, hub: Hub, path: str, requester: str, seconds: float) -> None:
        async with hub.tunnels.open(path, requester, seconds) as self.way:
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task

    async def cancelled(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task

    async def failed(self, kind: type[ArboraError]) -> ArboraError:
        with pytest.raises(kind) as told:
            await self.task
        return told.value


@asynccontextmanager
async def hubs(folder: Folder) -> AsyncIterator[tuple[Hub, Hub]]:
    """The root, with the child hub eu, and eu, with the member edge-7."""
    async with line_of_hubs(folder, "eu") as (root, eu):
        yield Hub(root), Hub(eu)


async def nobody_waits(hub: Hub, child: str, id: str) -> None:
    assert hub.records == []
    assert len(hub.tunnels) == 0
    with pytest.raises(InvalidInput, match="nobody waits for this tunnel"):
        hub.dials(child, id)


async def test_a_member_that_dials_back_is_the_way(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7")
        request = await hub.asked()
        assert (request.path, request.requester) == ("", "access/ana")
        assert request.patience.ToTimedelta().total_seconds() == OPEN_SECONDS
        assert len(hub.tunnels) == 1
        asked, side = hub.dials("edge-7", request.id)
        await eventually(lambda: caller.way is side, "the caller has its way")
        assert hub.records == [], "the question goes once it is answered"
        assert not asked.over.is_set()
        await caller.leave()
        assert asked.over.is_set(), "the child's stream ends with the block"
        await nobody_waits(hub, "edge-7", request.id)


@pytest.mark.parametrize("path", ["/eu/edge-7", "eu/edge-7"])
async def test_for_what_is_further_down_the_hub_on_the_way_is_asked(tmp_path: Folder, path: str) -> None:
    async with hubs(tmp_path) as (hub, _):
        caller = Caller(hub, path)
        request = await hub.asked()
        assert request.path == "edge-7", "relative to it"
        hub.dials("eu", request.id)
        await eventually(lambda: caller.way, "the caller has its way")
        await caller.leave()


async def test_every_question_has_an_id_of_its_own_and_its_own_answer(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        first = Caller(hub, "edge-7")
        one = await hub.asked(1)
        second = Caller(hub, "edge-7")
        other = await hub.asked(2)
        _, late = hub.dials("edge-7", other.id)
        _, early = hub.dials("edge-7", one.id)
        await eventually(lambda: first.way and second.way, "both have their way")
        assert (first.way, second.way) == (early, late)
        for caller in (first, second):
            await caller.leave()


async def test_a_refusal_keeps_its_kind_and_hint_and_names_who_refused(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7")
        id = (await hub.asked()).id
        hub.refuses("edge-7", id, "PERMISSION_DENIED", "it lets nobody in", hint="Ask it.", field="path")
        error = await caller.failed(PermissionDenied)
        assert (error.message, error.hint) == ("/eu/edge-7: it lets nobody in", "Ask it.")
        assert (error.hop, error.field) == ("/eu/edge-7", "")
        await nobody_waits(hub, "edge-7", id)


@pytest.mark.parametrize(
    ("said", "hop"),
    [
        ("/eu/edge-7", "/eu/edge-7"),
        ("/eu", "/eu"),
        ("/us", "/eu"),
        ("/", "/eu"),
        ("/europe", "/eu"),
        ("?", "/eu"),
    ],
)
async def test_a_child_speaks_for_itself_and_what_is_below_it_only(tmp_path: Folder, said: str, hop: str) -> None:
    async with hubs(tmp_path) as (hub, _):
        caller = Caller(hub, "/eu/edge-7")
        hub.refuses("eu", (await hub.asked()).id, "UNAVAILABLE", "no", hop=said)
        error = await caller.failed(Unavailable)
        assert (error.message, error.hop) == (f"{hop}: no", hop)


async def test_a_refusal_of_a_newer_child_is_an_error_all_the_same_and_a_long_one_is_cut(
    tmp_path: Folder,
) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7")
        hub.refuses("edge-7", (await hub.asked()).id, "UNHEARD_OF", "x" * 50_000, hint="y" * 50_000)
        error = await caller.failed(ArboraError)
        assert len(error.message) < 1100
        assert len(error.hint) == 1000


async def test_a_child_that_does_not_dial_back_in_time_is_named(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7", seconds=0.05)
        id = (await hub.asked()).id
        error = await caller.failed(DeadlineExceeded)
        assert "/eu/edge-7 opened no tunnel within 0.1 s" in error.message
        assert "agent's log" in error.hint
        await nobody_waits(hub, "edge-7", id)


async def test_the_time_to_open_is_not_the_time_to_stay(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        begin = asyncio.get_running_loop().time()
        caller = Caller(hub, "edge-7", seconds=0.2)
        hub.dials("edge-7", (await hub.asked()).id)
        await eventually(lambda: asyncio.get_running_loop().time() > begin + 0.4, "the time is over")
        assert not caller.task.done()
        await caller.leave()


async def test_a_caller_that_gives_up_leaves_no_question_behind(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7")
        id = (await hub.asked()).id
        assert hub.records == [f"tunnel/{id}"]
        await caller.cancelled()
        await nobody_waits(hub, "edge-7", id)


async def test_a_caller_that_gives_up_as_the_child_dials_ends_its_stream(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7")
        id = (await hub.asked()).id
        asked, _ = hub.dials("edge-7", id)
        await caller.cancelled()
        assert asked.over.is_set()
        await nobody_waits(hub, "edge-7", id)


async def test_what_fails_inside_the_block_ends_the_stream(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):

        async def breaks() -> None:
            async with hub.tunnels.open("edge-7", "access/ana"):
                raise Unavailable("the client is gone")

        task = asyncio.create_task(breaks())
        asked, _ = hub.dials("edge-7", (await hub.asked()).id)
        with pytest.raises(Unavailable, match="the client is gone"):
            await task
        assert asked.over.is_set()
        assert len(hub.tunnels) == 0


async def test_only_the_child_that_was_asked_can_answer_and_only_once(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7")
        id = (await hub.asked()).id
        for child, other in (("edge-8", id), ("edge-7", "deadbeef"), ("edge-7", "")):
            with pytest.raises(InvalidInput, match="nobody waits"):
                hub.dials(child, other)
        with pytest.raises(InvalidInput, match="nobody waits"):
            hub.refuses("edge-8", id, "PERMISSION_DENIED", "no")
        _, side = hub.dials("edge-7", id)
        with pytest.raises(InvalidInput, match="nobody waits"):
            hub.dials("edge-7", id)
        await eventually(lambda: caller.way is side, "the caller has its way")
        await caller.leave()


async def test_a_child_without_a_session_is_not_asked(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (root, hub):
        hub.wire.up = root.wire.up = False
        for one, path, named in ((hub, "edge-7", "/eu/edge-7"), (root, "/eu/edge-7", "/eu")):
            error = await Caller(one, path).failed(Unavailable)
            assert error.message == f"{named} is not connected, so there is no way into it"
            assert error.hint == f"See `arbora members describe {named}`."
            assert one.wire.down == []
            assert len(one.tunnels) == 0


async def test_a_child_whose_session_goes_meanwhile_is_waited_for_no_longer_than_that(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7", seconds=0.05)
        id = (await hub.asked()).id
        hub.wire.up = False
        await caller.failed(DeadlineExceeded)
        await nobody_waits(hub, "edge-7", id)


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/us/edge-7", NotFound, "there is no member us"),
        ("us", NotFound, "there is no member us"),
        ("/eu", InvalidInput, "/eu is a hub, and ways lead only into member clusters"),
        ("/", InvalidInput, "/ is this hub itself"),
        ("", InvalidInput, "names no member"),
        ("/EU/edge-7", InvalidInput, "is not a valid name"),
    ],
)
async def test_ways_lead_to_members_only(
    tmp_path: Folder, path: str, kind: type[ArboraError], message: str
) -> None:
    async with hubs(tmp_path) as (hub, _):
        assert message in str(await Caller(hub, path).failed(kind))
        assert hub.wire.down == []


async def test_nothing_is_below_a_member_and_nothing_above_is_a_way(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        assert "nothing is below it" in str(await Caller(hub, "edge-7/x").failed(InvalidInput))
        assert "is not below this hub" in str(await Caller(hub, "/us/edge-7").failed(NotFound))


@pytest.mark.parametrize(("limit", "value"), [("OPEN_LIMIT", 1), ("OF_ONE_CHILD", 1)])
async def test_tunnels_are_bounded_and_a_place_that_gets_free_is_used(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(opening, limit, value)
    async with hubs(tmp_path) as (_, hub):
        first = Caller(hub, "edge-7")
        hub.dials("edge-7", (await hub.asked()).id)
        error = await Caller(hub, "edge-7").failed(Exhausted)
        assert error.retry_after == 5.0
        assert "1 tunnels to /eu/edge-7 are open" in error.message
        await first.leave()
        second = Caller(hub, "edge-7")
        await hub.asked(2)
        await second.cancelled()


async def test_a_requester_is_cut_to_a_bound(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (_, hub):
        caller = Caller(hub, "edge-7", "parent/" * 1000)
        assert (await hub.asked()).requester == ("parent/" * 1000)[:MAX_REQUESTER]
        await caller.cancelled()


async def test_a_child_that_is_evicted_loses_its_tunnels_at_once_and_no_other_does(tmp_path: Folder) -> None:
    async with hubs(tmp_path) as (root, hub):
        caller = Caller(hub, "edge-7")
        asked, _ = hub.dials("edge-7", (await hub.asked()).id)
        other = Caller(root, "/eu/edge-7")
        kept, _ = root.dials("eu", (await root.asked()).id)
        edge = hub.inventory.find("edge-7")
        assert edge is not None
        await hub.inventory.evict(edge)
        assert asked.over.is_set()
        assert not kept.over.is_set()
        await Caller(hub, "edge-7").failed(NotFound)
        await caller.leave()
        await other.leave()
