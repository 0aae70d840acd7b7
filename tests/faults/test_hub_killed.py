"""A hub that is killed, at any moment, and started again: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from arbora.context import ADMIN_FILE
from tests.faults.writing import Writer, until_online
from tests.support.eventually import eventually
from tests.support.processes import AgentProcess, HubProcess, processes

pytestmark = pytest.mark.faults

ROUNDS = 4
"""Kills in one test; more in a row and members would back off for long, as they should."""
LONGEST_ROUND = 0.3
"""Seconds that a hub is written to at most before it is killed."""
LONGEST_START = 0.9
"""Seconds that a hub takes to start, and a bit."""


@pytest.mark.timeout(40)  # on a busy machine; members back off up to 8 s after four failures to connect
@pytest.mark.parametrize("seed", [2, 5])
async def test_a_hub_killed_at_any_moment_keeps_every_acknowledged_write(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    members = ["edge-7"]
    async with processes() as started:
        hub = HubProcess(tmp_path)
        started.append(hub)
        await hub.start()
        async with hub.admin() as client:
            agent = AgentProcess(
                tmp_path, "edge-7", hub.join_address, (await client.join_tokens.create("edge-7")).token
            )
            started.append(agent)
            await agent.start()
            await until_online(client, "edge-7")
            writer, stop = Writer(client, "edge-7"), asyncio.Event()
            writing = asyncio.create_task(writer.run(stop))
            try:
                for number in range(ROUNDS):
                    before = writer.acknowledged
                    await eventually(lambda n=before: writing.done() or writer.acknowledged > n, "writes", 20.0)
                    await hub.runs_for(chance.uniform(0.0, LONGEST_ROUND))
                    token = (await client.join_tokens.create(f"late-{number}")).token
                    await hub.kill()
                    if number % 2 == 0:  # a member that joins while the hub is down
                        members.append(f"late-{number}")
                        late = AgentProcess(tmp_path, members[-1], hub.join_address, token)
                        started.append(late)
                        await late.start()
                    await hub.start()
                    await hub.until_answers(client)
                    assert await writer.missing() == [], f"after kill {number}"
            finally:
                stop.set()
                await writing
            await until_online(client, *members, seconds=30.0)
            assert await writer.missing() == []
            assert writer.acknowledged > 2 * ROUNDS
            labels = [one async for one in client.audit.list() if one.action == "LabelMember"]
            assert sum(one.outcome == "OK" for one in labels) >= writer.acknowledged

            async def caught_up() -> bool:
                workloads = [one async for one in client.workloads.list()]
                parts = [part for one in workloads for part in one.assignments]
                whole = all(not part.stale and part.status.generation == part.generation for part in parts)
                return whole and not any(one.deleting for one in workloads)

            await eventually(caught_up, "the member has caught up", 20.0)
            hub.signal(signal.SIGTERM)
            assert await hub.ended() == 0
        assert "Traceback" not in "".join(one.said() for one in started)


async def test_a_hub_killed_during_its_first_start_starts_next_time(tmp_path: Path) -> None:
    chance = random.Random(4)
    async with processes() as started:
        for number in range(4):
            hub = HubProcess(tmp_path, tmp_path / f"hub-{number}")
            started.append(hub)
            await hub.start()
            await hub.runs_for(chance.uniform(0.2, LONGEST_START))
            await hub.kill()
            await hub.start()
            async with hub.admin() as client:
                assert (await client.access.whoami()).name == "admin"
            await hub.kill()


async def test_a_first_admin_that_could_not_be_handed_over_is_made_again_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with processes() as started:
        hub = HubProcess(tmp_path)
        started.append(hub)
        in_the_way = hub.data_dir / ADMIN_FILE
        in_the_way.mkdir(mode=0o700, parents=True)
        await hub.start()
        assert await hub.ended() != 0
        assert f"error: {in_the_way} can't be" in hub.said()
        in_the_way.rmdir()
        await hub.start()
        async with hub.admin() as client:
            assert [one.name for one in await client.access.list()] == ["admin"]
