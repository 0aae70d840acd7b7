"""A real hub on loopback, real agents on simulated clusters: what integration tests are made of.

Use them with `async with` inside a test, never as fixtures: a hub holds a TaskGroup, which has to be entered
and left by one task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arbora.client import HubClient
from arbora.clock import Clock, LoopClock
from arbora.context import ADMIN_FILE, Context, find_context
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.secret import Secret
from arbora.session import enroll
from arbora.session.credential import CredentialFile
from arbora.session.state import LinkState, Phase
from arbora.v1 import event_pb2, member_pb2, workload_pb2
from arbora.version import __version__
from arbora_agent.app import Agent, AgentHooks
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.settings import AgentSettings
from arbora_hub.app import Hub, open_hub
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.settings import HubSettings
from tests.support.eventually import eventually

LOOPBACK = "127.0.0.1:0"


@dataclass
class RunningHub:
    """A hub that serves, and its admin."""

    hub: Hub
    context: Context
    admin: HubClient

    async def join_token(self, name: str = "", **wishes: Any) -> str:
        """The text of a new join token."""
        return (await self.admin.join_tokens.create(name, **wishes)).token

    def liveness(self, name: str) -> Liveness | None:
        """What the hub thinks of a member; None if it is none."""
        child = self.hub.inventory.find(name)
        return child.liveness if child is not None else None

    async def until(self, name: str, liveness: Liveness, seconds: float = 10.0) -> None:
        """Wait until the hub thinks so."""
        await eventually(lambda: self.liveness(name) is liveness, f"{name} {liveness.name}", seconds)

    async def until_reported(self, name: str) -> member_pb2.Member:
        """Wait until the member is online and its status is fresh."""

        async def reported() -> member_pb2.Member | None:
            member = await self.admin.members.get(name)
            fresh = (
                member.liveness == member_pb2.LIVENESS_ONLINE and not member.stale and member.HasField("status")
            )
            return member if fresh else None

        found = await eventually(reported, f"{name} online and reported")
        assert found is not None
        return found

    async def events(self, subject: str = "") -> list[event_pb2.Event]:
        """Newest first."""
        return [event async for event in self.admin.events.list(subject)]

    async def reasons(self, subject: str = "") -> list[str]:
        """Of the events, oldest first."""
        return [event.reason for event in reversed(await self.events(subject))]

    async def audit(self) -> list[event_pb2.AuditEntry]:
        """Newest first."""
        return [entry async for entry in self.admin.audit.list()]

    async def until_workload(
        self, name: str, state: workload_pb2.WorkloadState.ValueType, generation: int = 0
    ) -> workload_pb2.Workload:
        """Wait until every part of the workload reports `state` for its generation."""

        async def there() -> workload_pb2.Workload | None:
            workload = await self.admin.workloads.get(name)
            parts = [part for part in workload.assignments if not part.withdrawn]
            known = all(part.status.generation >= max(part.generation, generation) for part in parts)
            return workload if parts and known and workload.state == state else None

        found = await eventually(there, f"workload {name} {workload_pb2.WorkloadState.Name(state)}")
        assert found is not None
        return found


def hub_settings(data_dir: Path, **settings: Any) -> HubSettings:
    """Every port free on loopback; what the test says wins."""
    defaults: dict[str, Any] = {
        "client_address": LOOPBACK,
        "join_address": LOOPBACK,
        "session_address": LOOPBACK,
        "drain_seconds": 2.0,
    }
    return HubSettings(data_dir=data_dir, **{**defaults, **settings})


def ports_of(hub: RunningHub) -> dict[str, str]:
    """Settings for a hub that comes back where this one was."""
    return {
        "client_address": hub.hub.client_address,
        "join_address": hub.hub.join_address,
        "session_address": f"127.0.0.1{hub.hub.session_address}",
    }


@asynccontextmanager
async def running_hub(data_dir: Path, **settings: Any) -> AsyncIterator[RunningHub]:
    """A hub that serves while the block lasts."""
    await asyncio.to_thread(data_dir.mkdir, mode=0o700, parents=True, exist_ok=True)
    async with open_hub(hub_settings(data_dir, **settings)) as hub:
        _, context = await asyncio.to_thread(find_context, data_dir / ADMIN_FILE)
        async with HubClient.from_context(context) as admin:
            yield RunningHub(hub, context, admin)


@asynccontextmanager
async def client_with(hub: RunningHub, bearer: str) -> AsyncIterator[HubClient]:
    """A client with another bearer token."""
    async with HubClient.from_context(replace(hub.context, token=Secret(bearer))) as client:
        yield client


@dataclass
class RunningAgent:
    """An agent and its simulated cluster."""

    name: str
    agent: Agent
    simulation: Simulation
    stop: asyncio.Event
    task: asyncio.Task[None]
    states: list[LinkState] = field(default_factory=list)

    def online(self, times: int = 1) -> bool:
        """Whether the link has come up so often."""
        return sum(state.phase is Phase.ONLINE for state in self.states) >= times

    async def until_online(self, times: int = 1, seconds: float = 10.0) -> None:
        """Wait until the link has come up so often."""
        await eventually(lambda: self.task.done() or self.online(times), f"{self.name} online", seconds)
        if self.task.done():
            self.task.result()
            raise AssertionError(f"{self.name} has stopped")

    async def ended(self, seconds: float = 10.0) -> BaseException | None:
        """Wait until the agent has ended by itself; what it raised."""
        await asyncio.wait([self.task], timeout=seconds)
        assert self.task.done(), f"{self.name} still runs"
        return self.task.exception()

    async def kill(self) -> None:
        """End at once, as SIGKILL would: no goodbye, nothing saved."""
        assert self.agent.link is not None
        self.agent.link.cut()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def agent_settings(data_dir: Path, hub: str = "", token: str = "", **settings: Any) -> AgentSettings:
    """Reports at once; what the test says wins."""
    return AgentSettings(
        data_dir=data_dir,
        hub=hub,
        join_token=Secret(token),
        **{"coalesce_seconds": 0.02, **settings},
    )


@asynccontextmanager
async def running_agent(
    hub: RunningHub | None,
    data_dir: Path,
    name: str,
    fleet: str = "1x8xH100",
    *,
    token: str | None = None,
    simulation: Simulation | None = None,
    clock: Clock | None = None,
    cluster: SimulatedCluster | None = None,
    labels: Mapping[str, str] | None = None,
    through: str = "",
    **settings: Any,
) -> AsyncIterator[RunningAgent]:
    """An agent on a simulated cluster while the block lasts. It joins with `token`, by default a new one.

    hub: None for an agent that has joined before and is on its own. data_dir: a folder for all agents.
    through: host:port to dial in place of the hub's session port.
    """
    where = data_dir / name
    joined = await CredentialFile(where).load() is not None
    if token is None:
        token = await hub.join_token(name, labels=labels) if hub is not None and not joined else ""
    clock = clock or LoopClock()
    simulation = simulation or Simulation(fleet, name=name, clock=clock)
    if through:
        await _join_through(through, where, name, token, str(simulation.uid), hub)
        token = ""
    states: list[LinkState] = []
    stop = asyncio.Event()
    agent = Agent(
        agent_settings(where, hub.hub.join_address if hub is not None else "", token, name=name, **settings),
        cluster or SimulatedCluster(simulation),
        CredentialFile(where),
        clock,
        AgentHooks(state=states.append),
    )
    task = asyncio.create_task(agent.run(stop), name=f"agent {name}")
    try:
        yield RunningAgent(name, agent, simulation, stop, task, states)
    finally:
        stop.set()
        if not task.done():
            await asyncio.wait([task], timeout=5.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _join_through(
    through: str, where: Path, name: str, token: str, cluster_uid: str, hub: RunningHub | None
) -> None:
    assert hub is not None
    store = CredentialFile(where)
    credential = await enroll.enroll(
        hub.hub.join_address,
        join_token.parse(token),
        store,
        kind=Kind.AGENT,
        name=name,
        cluster_uid=cluster_uid,
        version=__version__,
    )
    await store.save(replace(credential, session_address=through))


def config_map(name: str, **data: str) -> dict[str, Any]:
    """An object that is Available as soon as it is applied."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data or {"key": "value"},
    }


def job(name: str, gpus: int = 1, seconds: float = 600.0) -> dict[str, Any]:
    """A Job that runs so long on so many GPUs."""
    container = {"name": "main", "image": "busybox", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"arbora.dev/simulated-seconds": str(seconds)},
        },
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
