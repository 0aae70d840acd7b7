"""Fleets of simulated members behind a real hub, and what to place on them: for the tests of placement.

`async with fleet(folder, a="2x8xH100", b="1x4xT4") as it:` runs a hub and one agent for each name; the block
begins once the hub knows the GPUs of all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arbora.clock import ManualClock
from arbora.manifests.objects import Gvk, ObjectRef
from arbora.manifests.selectors import Selector
from arbora.v1 import workload_pb2
from arbora_agent.cluster.simulated import Simulation
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, job, running_agent, running_hub

EVERYWHERE = Selector()
ONE = {"clusters": 1}
T4 = "nvidia-tesla-t4"
PRODUCT = "nvidia.com/gpu.product"


@dataclass
class Fleet:
    """A hub, its agents by name, and where they run."""

    hub: RunningHub
    folder: Path
    clock: ManualClock
    agents: dict[str, RunningAgent] = field(default_factory=dict)

    async def apply(
        self,
        name: str,
        *manifests: dict[str, Any],
        selector: Selector | None = EVERYWHERE,
        members: Iterable[str] = (),
        overrides: Iterable[Mapping[str, Any]] = (),
        dry_run: bool = False,
        **placement: Any,
    ) -> workload_pb2.ApplyWorkloadResponse:
        """Apply a workload that may go anywhere, unless said otherwise."""
        return await self.hub.admin.workloads.apply(
            name,
            manifests,
            members=members,
            selector=selector,
            placement=placement,
            overrides=overrides,
            dry_run=dry_run,
        )

    async def shares(self, name: str) -> dict[str, int]:
        """Member -> units of the workload that it is to run."""
        return shares(await self.hub.admin.workloads.get(name))

    async def until_shares(self, name: str, wanted: Mapping[str, int], seconds: float = 10.0) -> None:
        """Wait until the workload is divided so."""

        async def there() -> bool:
            return await self.shares(name) == wanted

        await eventually(there, f"{name} is {wanted}", seconds)

    async def until_placed(self, name: str) -> str:
        """Wait until one member has the workload; the member.

        For a moment after work has arrived its GPUs are held twice, by a reservation and in the member's report.
        """

        async def there() -> dict[str, int]:
            return await self.shares(name)

        (member,) = await eventually(there, f"{name} is placed")
        return member

    async def until_room(self, name: str, wanted: Mapping[str, int]) -> None:
        """Wait until members have room for so many more replicas of a workload, with nothing on its way there."""

        async def there() -> bool:
            scored = (await self.hub.admin.workloads.explain(name)).scored
            return {one.path.removeprefix("/"): one.room for one in scored if one.room} == wanted

        await eventually(there, f"{name} has room {wanted}")

    async def until(self, what: str, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something in the members."""
        await eventually(condition, what, seconds)

    async def until_free(self, wanted: Mapping[str, int]) -> None:
        """Wait until the hub has heard of so many free GPUs."""
        await eventually(lambda: self.free(wanted) == wanted, f"the hub knows {wanted} free GPUs")

    def free(self, names: Iterable[str]) -> dict[str, int]:
        """Free GPUs by what the members reported."""
        found = {}
        for name in names:
            child = self.hub.hub.inventory.find(name)
            sketches = child.sketches.values() if child is not None and child.fresh else ()
            found[name] = sum(row.free for sketch in sketches for row in sketch.rows)
        return found

    def running(self, name: str) -> int:
        """GPUs that pods hold in a member's cluster."""
        return sum(self.agents[name].simulation.requested().values())

    def has(self, member: str, ref: ObjectRef) -> bool:
        """Whether the object is in the member's cluster."""
        return self.agents[member].simulation.read(ref) is not None

    def replicas(self, ref: ObjectRef) -> dict[str, int]:
        """Member -> `spec.replicas` of an object, where it is."""
        bodies = {name: agent.simulation.read(ref) for name, agent in self.agents.items()}
        return {name: body["spec"]["replicas"] for name, body in bodies.items() if body is not None}


@asynccontextmanager
async def fleet(
    folder: Path,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    settings: Mapping[str, Any] | None = None,
    **members: str,
) -> AsyncIterator[Fleet]:
    """A hub with members of these GPUs. labels: by member. settings: of the hub. Jobs run until `clock` moves."""
    async with running_hub(folder / "hub", **(settings or {})) as hub, AsyncExitStack() as stack:
        found = Fleet(hub, folder, ManualClock())
        for name, gpus in members.items():
            simulation = Simulation(gpus, name=name, clock=found.clock)
            told = (labels or {}).get(name)
            agent = running_agent(hub, folder, name, simulation=simulation, labels=told)
            found.agents[name] = await stack.enter_async_context(agent)
        for agent in found.agents.values():
            await agent.until_online()
        await found.until_free({name: gpus_of(agent.simulation) for name, agent in found.agents.items()})
        yield found


def gpus_of(simulation: Simulation) -> int:
    """GPUs of a member's nodes."""
    return sum(node.gpus for node in simulation.nodes)


def shares(workload: workload_pb2.Workload) -> dict[str, int]:
    """Member -> units, of the parts that are not withdrawn."""
    return {part.path.removeprefix("/"): part.replicas for part in workload.assignments if not part.withdrawn}


def ref(kind: str, name: str) -> ObjectRef:
    """Of an object in the namespace default."""
    versions = {"Job": "batch/v1", "Deployment": "apps/v1", "ConfigMap": "v1"}
    return ObjectRef(Gvk(versions[kind], kind), "default", name)


def deployment(name: str, replicas: int, gpus: int = 1, image: str = "docker.io/team/web:1") -> dict[str, Any]:
    """A Deployment whose pods take so many GPUs each."""
    container = {"name": "main", "image": image, "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container if gpus else {"name": "main", "image": image}]},
            },
        },
    }


def gang(name: str, pods: int, gpus: int) -> dict[str, Any]:
    """A Job whose pods all run at once."""
    manifest = job(name, gpus)
    manifest["spec"] |= {"parallelism": pods, "completions": pods, "completionMode": "Indexed"}
    return manifest


def t4_job(name: str, gpus: int = 1) -> dict[str, Any]:
    """A Job that takes T4 GPUs and no others."""
    manifest = job(name, gpus)
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {PRODUCT: T4}
    return manifest
