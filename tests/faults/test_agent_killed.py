"""An agent that is killed or frozen: its work is done, and the hub is told the truth."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from arbora.v1 import workload_pb2
from arbora.workloads.model import AssignmentStatus
from arbora_agent.journal import Journal
from arbora_hub.inventory.liveness import Liveness
from tests.faults.deaf import deafened
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, config_map, job, running_hub
from tests.support.processes import AgentProcess, processes

pytestmark = pytest.mark.faults

AVAILABLE = workload_pb2.WORKLOAD_STATE_AVAILABLE
ONLINE_SECONDS = 15.0


async def test_an_agent_killed_at_any_moment_ends_up_where_it_should(tmp_path: Path) -> None:
    chance = random.Random(3)
    async with running_hub(tmp_path / "hub") as hub, processes() as started:
        agent = AgentProcess(tmp_path, "edge-7", hub.hub.join_address, await hub.join_token("edge-7"))
        started.append(agent)
        for number in range(4):
            await agent.start()
            await hub.until("edge-7", Liveness.ONLINE, ONLINE_SECONDS)
            await hub.admin.workloads.apply("app", [config_map("app", v=str(number))], members=["edge-7"])
            await agent.runs_for(chance.uniform(0.0, 0.05))
            await agent.kill()
            await hub.until("edge-7", Liveness.SUSPECT)
        await agent.start()
        await hub.until("edge-7", Liveness.ONLINE, ONLINE_SECONDS)
        workload = await hub.until_workload("app", AVAILABLE, generation=4)
        assert workload.generation == 4
        assert "SessionTakenOver" not in await hub.reasons("member/edge-7")
        agent.signal(signal.SIGTERM)
        assert await agent.ended() == 0


async def test_an_agent_killed_between_apply_and_report_does_the_work_and_reports_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        session_port = hub.hub.session_address
        async with deafened(hub.hub.join_address, session_port) as ears, processes() as started:
            agent = AgentProcess(tmp_path, "edge-7", ears.join_address, await hub.join_token("edge-7"))
            started.append(agent)
            await agent.start()
            await hub.until("edge-7", Liveness.ONLINE, ONLINE_SECONDS)
            assert await gpus_in_use(hub, "edge-7") == 0
            ears.deaf = True
            answer = await hub.admin.workloads.apply("train", [job("train", gpus=2)], members=["edge-7"])
            await eventually(lambda: last_report(agent, answer.workload.uid), "the agent has applied it")
            await agent.kill()
            await hub.until("edge-7", Liveness.SUSPECT)
            assert not (await hub.admin.workloads.get("train")).assignments[0].HasField("status")
            ears.deaf = False
            await agent.start()
            await hub.until("edge-7", Liveness.ONLINE, ONLINE_SECONDS)

            async def reported() -> bool:
                (part,) = (await hub.admin.workloads.get("train")).assignments
                return not part.stale and part.status.generation == 1 and await gpus_in_use(hub, "edge-7") == 2

            await eventually(reported, "the job runs and the hub knows")


async def last_report(agent: AgentProcess, uid: str) -> AssignmentStatus | None:
    """What the agent would report of a workload after a restart."""
    journal = Journal(agent.data_dir)
    await journal.load()
    return journal.last_status(uid)


async def gpus_in_use(hub: RunningHub, member: str) -> int:
    """As the hub knows it."""
    sketches = (await hub.until_reported(member)).sketches
    return sum(row.used for sketch in sketches for row in sketch.rows)


async def test_a_frozen_agent_is_suspect_then_lost_and_online_again_once_thawed(tmp_path: Path) -> None:
    short = {"heartbeat_interval": 0.3, "lease_duration": 3.0, "startup_grace": 0.0}
    async with running_hub(tmp_path / "hub", **short) as hub, processes() as started:
        agent = AgentProcess(tmp_path, "edge-7", hub.hub.join_address, await hub.join_token("edge-7"))
        started.append(agent)
        await agent.start()
        await hub.until("edge-7", Liveness.ONLINE, ONLINE_SECONDS)
        agent.signal(signal.SIGSTOP)
        await hub.until("edge-7", Liveness.SUSPECT)
        await hub.until("edge-7", Liveness.LOST)
        answer = await hub.admin.workloads.apply("app", [config_map("app")], members=["edge-7"])
        assert list(answer.warnings) == ["edge-7 is lost"]
        agent.signal(signal.SIGCONT)
        await hub.until("edge-7", Liveness.ONLINE, ONLINE_SECONDS)
        await hub.until_workload("app", AVAILABLE)
        reasons = [one for one in await hub.reasons("member/edge-7") if one.startswith("Member")]
        lost = reasons.index("MemberLost")
        assert reasons[:2] == ["MemberJoined", "MemberOnline"]
        assert reasons[lost - 1] == "MemberSuspect"
        # What it had sent before it froze may be heard on its old stream first: Suspect again, then Online.
        assert set(reasons[lost + 1 :]) <= {"MemberSuspect", "MemberOnline"}
        assert reasons[-1] == "MemberOnline"
