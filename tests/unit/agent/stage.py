"""A simulated cluster with a reconciler on it, on a clock that the test turns; and manifests to play with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from arbora.clock import ManualClock
from arbora.manifests.objects import Gvk, Manifest, ObjectRef
from arbora.workloads.model import Assignment, AssignmentStatus, State
from arbora_agent.cluster.port import OwnedObject
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.workloads.reconciler import Reconciler

TURNS = 5_000
"""Turns of the event loop within which a condition has to come true."""


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds; no time passes on the manual clock."""
    for _ in range(TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition did not come true")


async def quiet() -> None:
    """Let everything that is under way without waiting for the clock come to its end."""
    for _ in range(200):
        await asyncio.sleep(0)


class RecordedCluster(SimulatedCluster):
    """The simulated cluster, with a list of what was asked of it and a gate that holds applies up."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self.requests: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.most_running = 0

    async def apply(self, manifest: Manifest, *, workload_uid: str, generation: int) -> OwnedObject:
        self.requests.append(f"apply {manifest['kind']} {manifest['metadata']['name']}")
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
            return await super().apply(manifest, workload_uid=workload_uid, generation=generation)
        finally:
            self.running -= 1

    async def delete(self, target: OwnedObject) -> None:
        self.requests.append(f"delete {target.ref.gvk.kind} {target.ref.name}")
        await super().delete(target)


class Stage:
    """Everything around one reconciler."""

    def __init__(self, fleet: str = "2x8xH100", simulation: Simulation | None = None) -> None:
        self.simulation = simulation or Simulation(fleet, clock=ManualClock())
        clock = self.simulation.clock
        assert isinstance(clock, ManualClock)
        self.clock = clock
        self.cluster = RecordedCluster(self.simulation)
        self.reports: list[AssignmentStatus] = []
        self.forgotten: list[str] = []
        self.events: list[tuple[str, str, str, str]] = []
        self.reconciler = Reconciler(
            self.cluster,
            report=self.reports.append,
            forget=self.forgotten.append,
            event=lambda *event: self.events.append(event),
            clock=clock,
            chance=lambda: 0.5,
        )

    @contextlib.asynccontextmanager
    async def running(self, *, synced: bool = True) -> AsyncIterator[Stage]:
        """Cluster and reconciler at work. Without `synced`, entered before the cluster has been looked at."""
        tasks = [asyncio.create_task(self.cluster.run()), asyncio.create_task(self.reconciler.run())]
        try:
            if synced:
                await self.cluster.synced()
            yield self
            failed = [task for task in tasks if task.done()]
            assert not failed, [task.exception() for task in failed]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, stopping at every moment that somebody waits for."""
        end = self.clock.monotonic() + seconds
        await quiet()
        while (moment := self.clock.next_moment()) is not None and moment <= end:
            self.clock.advance(moment - self.clock.monotonic())
            await quiet()
        self.clock.advance(end - self.clock.monotonic())
        await quiet()

    def last(self, uid: str = "w") -> AssignmentStatus | None:
        """The last report of a workload."""
        return next((each for each in reversed(self.reports) if each.uid == uid), None)

    def state(self, uid: str = "w") -> State | None:
        """The state last reported of a workload."""
        found = self.last(uid)
        return found.state if found else None

    def exists(self, kind: str, name: str, namespace: str = "default") -> bool:
        """Whether the cluster has the object."""
        return self.simulation.read(ref(kind, name, namespace)) is not None

    def reasons(self) -> list[str]:
        """The reasons of all events."""
        return [reason for _, reason, _, _ in self.events]


VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1"}


def ref(kind: str, name: str, namespace: str = "default") -> ObjectRef:
    return ObjectRef(Gvk(VERSIONS.get(kind, "v1"), kind), "" if kind == "Namespace" else namespace, name)


def assignment(*manifests: Manifest, uid: str = "w", generation: int = 1, withdrawn: bool = False) -> Assignment:
    return Assignment(uid, f"name-of-{uid}", generation, manifests, withdrawn)


def thing(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": VERSIONS.get(kind, "v1"), "kind": kind, "metadata": {"name": name}, **fields}


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return thing("ConfigMap", name, data=data or {"colour": "green"})


def pod_spec(gpus: int = 0, **spec: Any) -> dict[str, Any]:
    limits = {"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}
    return {"containers": [{"name": "main", "image": "busy", **limits}], **spec}


def job(name: str = "train", gpus: int = 1, seconds: float | None = None, **spec: Any) -> dict[str, Any]:
    made = thing("Job", name, spec={**spec, "template": {"spec": pod_spec(gpus, restartPolicy="Never")}})
    if seconds is not None:
        made["metadata"]["annotations"] = {"arbora.dev/simulated-seconds": str(seconds)}
    return made


def deployment(name: str = "serve", gpus: int = 0, replicas: int = 1, kind: str = "Deployment") -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(gpus)}
    spec: Mapping[str, Any] = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    if kind == "DaemonSet":
        spec = {key: value for key, value in spec.items() if key != "replicas"}
    return thing(kind, name, spec=spec)
