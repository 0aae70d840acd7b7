"""How daemons end, and what they say when they do: exit codes and sentences that people and scripts can use."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from arbora_hub.inventory.liveness import Liveness
from tests.faults.writing import until_online
from tests.support.eventually import eventually
from tests.support.hub import running_hub
from tests.support.processes import AgentProcess, HubProcess, processes

pytestmark = pytest.mark.faults


async def test_a_hub_that_is_told_to_stop_lets_its_children_go_and_exits_with_0(tmp_path: Path) -> None:
    async with processes() as started:
        hub = HubProcess(tmp_path)
        started.append(hub)
        await hub.start()
        async with hub.admin() as client:
            token = (await client.join_tokens.create("edge-7")).token
            agent = AgentProcess(tmp_path, "edge-7", hub.join_address, token, level="info")
            started.append(agent)
            await agent.start()
            await until_online(client, "edge-7")
            hub.signal(signal.SIGTERM)
            assert await hub.ended() == 0
            await eventually(lambda: "the hub drains" in agent.said(), "the agent heard of it")
            assert agent.running
            await hub.start()
            await hub.until_answers(client)
            await until_online(client, "edge-7")
        assert "Traceback" not in hub.said() + agent.said()


async def test_an_evicted_agent_exits_with_the_code_of_a_refusal(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, processes() as started:
        agent = AgentProcess(tmp_path, "edge-7", hub.hub.join_address, await hub.join_token("edge-7"))
        started.append(agent)
        await agent.start()
        await hub.until("edge-7", Liveness.ONLINE, seconds=15.0)
        await hub.admin.members.evict("edge-7", "sold")
        assert await agent.ended() == 11
        assert "error: edge-7 was evicted: sold" in agent.said()
        assert "hint:" in agent.said()
        assert "Traceback" not in agent.said()


async def test_a_second_hub_on_the_same_port_says_so_and_exits(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, processes() as started:
        second = HubProcess(tmp_path, tmp_path / "other", join_address=hub.hub.join_address)
        started.append(second)
        await second.start()
        assert await second.ended() == 5
        assert f"error: can't listen on {hub.hub.join_address}" in second.said()
        assert "Traceback" not in second.said()


async def test_a_second_hub_on_the_same_data_says_so_and_exits(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, processes() as started:
        second = HubProcess(tmp_path, tmp_path / "hub")
        started.append(second)
        await second.start()
        assert await second.ended() == 5
        assert f"error: another process runs on the data directory {tmp_path / 'hub'}" in second.said()
        assert "hint: Stop it first" in second.said()
        assert "Traceback" not in second.said()
        assert (await hub.admin.info()).workloads == 0
