"""Links that break: whatever happened meanwhile, afterwards both ends know the same, and only that travelled."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from arbora.clock import ManualClock
from arbora.mirror import wire
from arbora.mirror.records import Cursor, Lane
from arbora.session import writer
from arbora.v1 import session_pb2, workload_pb2
from arbora_agent.cluster.simulated import Simulation
from arbora_hub.inventory.liveness import Liveness
from tests.support.child import PlayedSession, enrolled, played
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, config_map, job, ports_of, running_agent, running_hub
from tests.support.network import proxy_to

AVAILABLE = workload_pb2.WORKLOAD_STATE_AVAILABLE
SHORT = {"heartbeat_interval": 0.3, "lease_duration": 3.0, "startup_grace": 0.0}


async def agree(hub: RunningHub, agent: RunningAgent) -> None:
    """Wait until both maps are equal at both ends."""

    def desired(child_side: bool) -> dict[str, bytes]:
        assert agent.agent.link is not None
        ours = hub.hub.inventory.find(agent.name)
        assert ours is not None
        theirs = agent.agent.link._exchange  # the other end's memory is what this test is about
        keys = [f"assignment/{record.row.uid}" for record in hub.hub.workloads]
        read = theirs.received_value if child_side else ours.exchange.get
        return {key: value for key in keys if (value := read(key)) is not None}

    def observed(child_side: bool) -> dict[str, bytes]:
        assert agent.agent.link is not None
        ours = hub.hub.inventory.find(agent.name)
        assert ours is not None
        keys = ["status", *(f"workload/{record.row.uid}" for record in hub.hub.workloads)]
        read = agent.agent.link._exchange.get if child_side else ours.exchange.received_value
        return {key: value for key in keys if (value := read(key)) is not None}

    await eventually(lambda: desired(True) == desired(False), "the desired maps are equal")
    await eventually(lambda: observed(True) == observed(False) and observed(True), "the observed maps are equal")


async def test_both_maps_are_equal_after_cuts_at_any_moment(tmp_path: Path) -> None:
    simulation = Simulation("1x8xH100", name="a", clock=(clock := ManualClock()))
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "a", simulation=simulation) as agent:
            await agent.until_online()
            for number in range(8):
                name = f"app-{number % 3}"
                await hub.admin.workloads.apply(name, [config_map(name, v=str(number))], members=["a"])
                await hub.admin.workloads.apply(f"job-{number}", [job(f"job-{number}", seconds=5)], members=["a"])
                assert agent.agent.link is not None
                agent.agent.link.cut()
                clock.advance(2.0)
                if number % 3 == 2:
                    await hub.admin.workloads.delete(f"job-{number}")
            await agree(hub, agent)
            for number in range(3):
                await hub.until_workload(f"app-{number}", AVAILABLE)
        assert not agent.task.cancelled()


async def test_a_link_that_a_proxy_cuts_comes_back_by_itself(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, proxy_to(hub.hub.session_address) as proxy:
        async with running_agent(hub, tmp_path, "a", through=proxy.address) as agent:
            await agent.until_online()
            proxy.cut(refuse=True)
            await hub.until("a", Liveness.SUSPECT)
            await hub.admin.workloads.apply("app", [config_map("app")], members=["a"])
            agent.simulation.add_nodes("1x8xH100")
            proxy.mend()
            await agent.until_online(times=2)
            await hub.until_workload("app", AVAILABLE)
            await agree(hub, agent)

            async def two_nodes() -> bool:
                return (await hub.admin.members.get("a")).status.nodes == 2

            await eventually(two_nodes, "the new node is known")


async def test_a_half_open_link_is_noticed_by_both_ends(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", **SHORT) as hub, proxy_to(hub.hub.session_address) as proxy:
        async with running_agent(hub, tmp_path, "a", through=proxy.address) as agent:
            await agent.until_online()
            proxy.freeze()
            await hub.until("a", Liveness.SUSPECT)
            await hub.until("a", Liveness.LOST)
            before = proxy.accepted
            await eventually(lambda: proxy.accepted > before or before > 1, "the agent dials again by itself")
            proxy.thaw()
            await hub.until("a", Liveness.ONLINE, seconds=15.0)
            assert "MemberLost" in await hub.reasons("member/a")


async def collect(session: PlayedSession, keys: int) -> tuple[dict[str, int], dict[Lane, Cursor]]:
    """Read frames until so many different records came; how often each came, and the cursors, which are acked."""
    seen: dict[str, int] = {}
    cursors: dict[Lane, Cursor] = {}
    while len(seen) < keys:
        frame = await session.read()
        assert frame is not None
        if frame.HasField("batch"):
            lane, batch = wire.batch_from_wire(frame.batch)
            for one in batch.records:
                seen[one.key] = seen.get(one.key, 0) + 1
            cursors[lane] = Cursor(batch.epoch, batch.upto)
            acks = [wire.cursor_to_wire(one, cursor) for one, cursor in cursors.items()]
            await session.send(session_pb2.Up(acks=acks))
    return seen, cursors


async def test_after_a_cut_only_what_changed_is_sent_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "a")
        uids = {}
        for number in range(5):
            answer = await hub.admin.workloads.apply(
                f"app-{number}", [config_map(f"app-{number}")], members=["a"]
            )
            uids[number] = f"assignment/{answer.workload.uid}"
        async with played(credential) as session:
            assert (await session.introduce("a")) is not None
            seen, cursors = await collect(session, 6)
            assert seen == {"settings": 1, **dict.fromkeys(uids.values(), 1)}
        for v in range(3):
            await hub.admin.workloads.apply("app-2", [config_map("app-2", v=str(v))], members=["a"])
        async with played(credential) as session:
            cursor = [wire.cursor_to_wire(lane, one) for lane, one in cursors.items()]
            assert (await session.introduce("a", cursors=cursor)) is not None
            seen, _ = await collect(session, 1)
            assert seen == {uids[2]: 1}
            await hub.admin.workloads.apply("app-4", [config_map("app-4", v="9")], members=["a"])
            seen, _ = await collect(session, 1)
            assert seen == {uids[4]: 1}


async def test_a_child_with_a_cursor_of_another_map_gets_everything(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        credential = await enrolled(hub, tmp_path, "a")
        answer = await hub.admin.workloads.apply("app", [config_map("app")], members=["a"])
        foreign = [session_pb2.Cursor(lane=lane, epoch=12345, version=10**9) for lane in (1, 2)]
        async with played(credential) as session:
            assert (await session.introduce("a", cursors=foreign)) is not None
            seen, _ = await collect(session, 2)
            assert set(seen) == {"settings", f"assignment/{answer.workload.uid}"}


async def test_a_stopping_hub_asks_its_children_to_leave_and_they_come_back(tmp_path: Path) -> None:
    async with AsyncExitStack() as outer:
        async with running_hub(tmp_path / "hub") as hub:
            agents = [await outer.enter_async_context(running_agent(hub, tmp_path, name)) for name in ("a", "b")]
            for agent in agents:
                await agent.until_online()
            credential = await enrolled(hub, tmp_path, "c")
            session = await outer.enter_async_context(
                played(credential, session_address=f"127.0.0.1{hub.hub.session_address}")
            )
            assert (await session.introduce("c")) is not None
        while (frame := await session.read()) is not None and not frame.HasField("drain"):
            pass
        assert frame is not None
        assert frame.drain.reconnect_after.ToTimedelta().total_seconds() > 0
        async with running_hub(tmp_path / "hub", **ports_of(hub)) as hub:
            for agent in agents:
                await agent.until_online(times=2, seconds=15.0)
                assert any(state.sentence.startswith("next attempt") for state in agent.states)


async def test_a_herd_is_let_in_at_the_hubs_rate_and_everybody_gets_in(tmp_path: Path) -> None:
    names = [f"edge-{number}" for number in range(8)]
    async with AsyncExitStack() as outer:
        async with running_hub(tmp_path / "hub") as hub:
            agents = [await outer.enter_async_context(running_agent(hub, tmp_path, name)) for name in names]
            for agent in agents:
                await agent.until_online()
        async with running_hub(tmp_path / "hub", admission_rate=3.0, **ports_of(hub)) as hub:
            for agent in agents:
                await agent.until_online(times=2, seconds=18.0)
            assert all(hub.liveness(name) is Liveness.ONLINE for name in names)
            busy = [state for agent in agents for state in agent.states if "too many children" in state.sentence]
            assert busy


async def test_a_child_that_reads_nothing_delays_nobody_and_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WRITE_SECONDS", 1.0)
    async with running_hub(tmp_path / "hub") as hub, running_agent(hub, tmp_path, "quick") as quick:
        await quick.until_online()
        credential = await enrolled(hub, tmp_path, "slow")
        async with played(credential) as session:
            assert (await session.introduce("slow")) is not None
            big = "x" * 800_000
            for number in range(6):
                await hub.admin.workloads.apply(
                    f"big-{number}", [config_map(f"big-{number}", big=big)], members=["slow"]
                )
            began = asyncio.get_running_loop().time()
            await hub.admin.workloads.apply("small", [config_map("small")], members=["quick"])
            await hub.until_workload("small", AVAILABLE)
            assert asyncio.get_running_loop().time() - began < 1.0
            await hub.until("slow", Liveness.SUSPECT)
        assert hub.liveness("quick") is Liveness.ONLINE
