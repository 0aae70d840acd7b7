"""What ends an open way into a member, at both of its ends and at once, and what does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from arbora.identity.bearer import Role
from arbora.tunnel.ends import TunnelEnd
from arbora.tunnel.splice import splice
from arbora_hub.gateway import proxy
from tests.support.eventually import eventually
from tests.support.far import SMALL, Far, echo, far_server
from tests.support.hub import RunningHub, running_hub
from tests.support.reach import (
    GATEWAY,
    Made,
    Reach,
    Streams,
    ask,
    head,
    hub_below,
    member,
    reach,
    refusal,
    said_back,
    until_cut,
    way,
)

HOPS = pytest.mark.parametrize("between", [(), ("eu",)], ids=["one hub", "two hubs"])


@dataclass
class Pair:
    """Two open ways into one member, with a token each."""

    far: Far
    it: Reach
    made: Made
    streams: Streams
    other: Streams

    async def ended(self) -> None:
        """Wait until the first is gone from one end to the other, and see that the second is not."""
        await until_cut(self.streams)
        await eventually(lambda: len(self.far.serving) == 1, "the server in the member is rid of it")
        await eventually(lambda: all(len(hub.hub.tunnels) == 1 for hub in self.it.hubs), "so are the hubs")
        assert await said_back(self.other)


@asynccontextmanager
async def pair(folder: Path, between: tuple[str, ...], lifetime: float | None = None) -> AsyncIterator[Pair]:
    """lifetime: of the first token; seconds."""
    async with far_server(echo) as far, reach(folder, far.address, between) as it:
        made, other = await short_token(it, lifetime), await it.token()
        async with way(made) as streams, way(other) as others:
            yield Pair(far, it, made, streams, others)


async def short_token(it: Reach, lifetime: float | None) -> Made:
    """A token that lasts for less than the API allows."""
    made = await it.token(name="first")
    if lifetime is None:
        return made
    await it.root.admin.access.revoke("first")
    relative = it.path.removeprefix("/")
    token, _ = await it.root.hub.accesses.create("first", Role.VIEWER, lifetime, member=relative)
    made.token = token.text()
    return made


@HOPS
async def test_a_way_ends_when_its_token_is_revoked_and_no_other_does(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    async with pair(tmp_path, between) as two:
        await two.it.root.admin.access.revoke(two.made.name)
        await two.ended()
        assert (await refusal(two.made)).status == 407


@HOPS
async def test_a_way_ends_with_the_lifetime_of_its_token(tmp_path: Path, between: tuple[str, ...]) -> None:
    async with pair(tmp_path, between, lifetime=1.0) as two:
        assert await said_back(two.streams)
        await two.ended()
        answer = await refusal(two.made)
        assert (answer.status, answer.reason.startswith("the access first ended at ")) == (407, True)


async def test_a_token_that_is_revoked_while_its_way_is_being_opened_opens_none(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        opened = it.root.hub.tunnels.open

        @asynccontextmanager
        async def revoked_meanwhile(path: str, requester: str) -> AsyncIterator[TunnelEnd]:
            async with opened(path, requester) as end:
                await it.root.hub.accesses.revoke(made.name)
                yield end

        it.root.hub.tunnels.open = revoked_meanwhile  # type: ignore[method-assign, assignment]
        assert (await ask(made, head(made))).status == 407
        await far.until_left()
        await it.until_idle()


async def test_all_ways_into_a_member_end_when_it_is_evicted(tmp_path: Path) -> None:
    async with pair(tmp_path, ()) as two:
        await two.it.root.admin.members.evict("edge-7")
        await until_cut(two.streams)
        await until_cut(two.other)
        await two.far.until_left()
        answer = await refusal(two.made)
        assert (answer.status, answer.reason.partition(".")[0]) == (404, "there is no member edge-7 at this hub")


async def test_a_member_that_is_evicted_by_the_hub_below_is_not_reached_through_the_hub_above(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path, ("eu",)) as two:
        await two.it.owner.admin.members.evict("edge-7")
        await until_cut(two.streams)
        await until_cut(two.other)
        answer = await refusal(two.made)
        assert (answer.status, answer.reason.partition(".")[0]) == (
            404,
            "/eu: there is no member edge-7 at this hub",
        )
        await two.it.until_idle()


@HOPS
async def test_ways_end_when_their_agent_is_killed_and_those_into_other_members_go_on(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address, between) as it:
        async with member(it.owner, tmp_path, "edge-8", far.address):
            path = it.path.replace("edge-7", "edge-8")
            neighbour = await it.root.admin.connect_tokens.create(path)
            made = await it.token()
            async with way(made) as streams, way(neighbour) as others:
                assert await said_back(streams)
                await it.agent.kill()
                await until_cut(streams)
                assert await said_back(others)
                answer = await refusal(made)
                assert answer.status == 502
                assert f"{it.path} is not connected" in answer.reason


async def test_a_member_that_lost_its_session_is_reached_again_once_it_is_back(tmp_path: Path) -> None:
    async with far_server(echo) as far, reach(tmp_path, far.address) as it:
        made = await it.token()
        async with way(made) as streams:
            assert await said_back(streams)
            assert it.agent.agent.link is not None
            it.agent.agent.link.cut()
            await until_cut(streams)
        await it.agent.until_online(times=2)
        async with way(made) as streams:
            assert await said_back(streams)


async def test_ways_end_when_a_hub_in_the_middle_is_gone(tmp_path: Path) -> None:
    async with far_server(echo) as far, running_hub(tmp_path / "root", **GATEWAY) as root:
        async with AsyncExitStack() as below:
            eu = await below.enter_async_context(hub_below(root, tmp_path, "eu"))
            await below.enter_async_context(member(eu, tmp_path, "edge-7", far.address))
            made = await root.admin.connect_tokens.create("/eu/edge-7")
            async with way(made) as streams:
                assert await said_back(streams)
                began = asyncio.get_running_loop().time()
                await below.aclose()
                await until_cut(streams)
                assert asyncio.get_running_loop().time() - began < 5.0
        await far.until_left()
        answer = await refusal(made)
        assert answer.status == 502
        assert "/eu is not connected" in answer.reason
        await nothing_is_open(root)


async def nothing_is_open(hub: RunningHub) -> None:
    await eventually(lambda: not len(hub.hub.tunnels), "no tunnel is open")


async def test_a_way_on_which_nobody_says_anything_ends_and_one_that_is_used_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = 0.5
    monkeypatch.setattr(proxy, "splice", partial(splice, idle_seconds=idle))
    async with pair(tmp_path, ("eu",)) as two:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 3 * idle:
            assert await said_back(two.other)
        await two.ended()


async def test_a_way_goes_on_while_its_agent_moves_to_a_new_certificate(tmp_path: Path) -> None:
    hub = {"certificate_lifetime": 4.0}
    async with far_server(echo) as far, reach(tmp_path, far.address, root=hub) as it:
        async with way(await it.token()) as streams:
            assert await said_back(streams)
            await it.agent.until_online(times=2, seconds=12.0)
            assert await said_back(streams)


async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says more than anybody reads, and hears nothing."""
    while True:
        writer.write(bytes(SMALL))
        await writer.drain()


@HOPS
async def test_a_client_that_leaves_in_the_middle_of_much_leaves_nothing_behind(
    tmp_path: Path, between: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with far_server(floods) as far, reach(tmp_path, far.address, between) as it:
        async with way(await it.token()) as (reader, _):
            await reader.readexactly(1_000_000)
        await far.until_left()
        await it.until_idle()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_client_that_leaves_while_the_member_does_not_read_leaves_nothing_behind(tmp_path: Path) -> None:
    sent = [0]

    async def fill(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(SMALL))
            await writer.drain()
            sent.append(sent[-1] + SMALL)

    def stands() -> bool:
        seen.append(sent[-1])
        return len(seen) > 50 and seen[-1] == seen[-50]

    seen: list[int] = []
    async with far_server(floods) as far, reach(tmp_path, far.address) as it:
        async with way(await it.token()) as (_, writer):
            filling = asyncio.create_task(fill(writer))
            await eventually(stands, "nothing more fits in")
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        await far.until_left()
        await it.until_idle()
