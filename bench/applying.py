"""How fast a workload reaches a real API server and its status comes back: part `applying`.

    apply at the hub -> (store, session) -> agent -> kube-apiserver -> a raw watch sees the object      exists
                                                 \\-> status -> hub -> a client's watch says Applied     applied

With one member, and again with 500 idle ones beside it. The hub, the agent, the API server, etcd (with fsync),
the controller manager and the load generator are processes of their own; this one applies and watches both ends,
so there is one clock. At last the agent starts anew beside 50 nodes and 500 pods, and its memory is read.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arbora.client import HubClient
from arbora.client.waiting import reached
from arbora.v1 import member_pb2, workload_pb2
from arbora.workloads.model import State
from bench import proc
from bench.apiwatch import Appearances, appearances
from bench.herd import herd
from bench.processes import HubProcess, Running, agent, hub, pod_agent, scratch
from bench.report import Report
from bench.watching import Seen, online, seen_members, seen_workloads
from tests.envtest import assets
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver
from tests.envtest.installed import install, settings

RUNS = 100
UNMEASURED = 3
"""Runs before the first that counts: connections open, caches fill."""
OTHERS = 500
SETTLE_SECONDS = 12.0
WAIT_SECONDS = 20.0
NAMESPACE = "bench"
MEMBER = "measured"
NODES, PODS = 50, 500
AGENT_SECONDS = 10.0
KINDS = {"ConfigMap": "/api/v1", "Job": "/apis/batch/v1"}
AGENT_MB = 85.0
EXISTS_P50, EXISTS_P99, APPLIED_P50, APPLIED_P99 = 15.0, 30.0, 20.0, 40.0


@dataclass
class Round:
    """The samples of one kind, in milliseconds."""

    exists: list[float] = field(default_factory=list)
    applied: list[float] = field(default_factory=list)


@dataclass
class Scene:
    """What both rounds need."""

    client: HubClient
    members: Seen[member_pb2.Member]
    workloads: Seen[workload_pb2.Workload]
    watches: dict[str, Appearances]


async def run(report: Report) -> None:
    """Measure all of it, or say why that can't be done here."""
    if assets.find() is None:
        _missing(report)
        return
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        report.say("applying: a control plane starts")
        plane = await stack.enter_async_context(ControlPlane())
        driver = await stack.enter_async_context(Driver(plane))
        await driver.namespace(NAMESPACE)
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        worker = await _member(stack, folder, one, client, plane)
        await _came_online(members)
        scene = Scene(
            client,
            members,
            await stack.enter_async_context(seen_workloads(client)),
            {
                kind: await stack.enter_async_context(
                    appearances(plane, f"{group}/namespaces/{NAMESPACE}/{kind.lower()}s")
                )
                for kind, group in KINDS.items()
            },
        )
        await _rounds(report, scene, "one_member", "one member")
        load = await stack.enter_async_context(herd(folder))
        report.say(f"applying: {OTHERS} idle members join")
        await load.join(client, one.join_address, OTHERS)
        await asyncio.sleep(SETTLE_SECONDS)
        await _rounds(report, scene, f"{OTHERS}_idle", f"{OTHERS} idle members beside it")
        await _agent_memory(report, scene, plane, driver, one, worker)


async def _member(
    stack: AsyncExitStack, folder: Path, one: HubProcess, client: HubClient, plane: ControlPlane
) -> Running:
    token = (await client.join_tokens.create(MEMBER)).token
    where = ("--kubeconfig", str(plane.kubeconfig))
    worker = agent(folder, MEMBER, one.join_address, token, where)
    stack.push_async_callback(worker.stop)
    await worker.start()
    return worker


async def _came_online(members: Seen[member_pb2.Member]) -> None:
    await members.until(lambda: online(members.now.get(f"/{MEMBER}")), WAIT_SECONDS)


async def _rounds(report: Report, scene: Scene, id: str, conditions: str) -> None:
    for kind in KINDS:
        report.say(f"applying: {RUNS} x {kind}, {conditions}")
        samples = Round()
        for number in range(-UNMEASURED, RUNS):
            name = f"{kind.lower()}-{id.replace('_', '-')}-{number + UNMEASURED}"
            exists, applied = await _one(scene, kind, name)
            if number >= 0:
                samples.exists.append(exists)
                samples.applied.append(applied)
        end = f"{RUNS} runs one after the other, each withdrawn before the next; {conditions}; etcd with fsync"
        name = f"apply.{kind.lower()}"
        how = f"apply called -> a {kind} seen by a watch of the kube-apiserver; {end}"
        report.quantile(f"{name}.exists.{id}", samples.exists, 0.5, "ms", how, at_most=EXISTS_P50)
        report.quantile(f"{name}.exists.{id}", samples.exists, 0.99, "ms", how, at_most=EXISTS_P99)
        how = f"apply called -> Applied seen by a client's watch of the hub; {end}"
        report.quantile(f"{name}.applied.{id}", samples.applied, 0.5, "ms", how, at_most=APPLIED_P50)
        report.quantile(f"{name}.applied.{id}", samples.applied, 0.99, "ms", how, at_most=APPLIED_P99)


async def _one(scene: Scene, kind: str, name: str) -> tuple[float, float]:
    """Apply one object as one workload; milliseconds until it exists and until the hub says Applied."""
    workloads = scene.workloads

    def is_applied() -> bool:
        workload = workloads.now.get(name)
        return workload is not None and reached(workload, State.APPLIED)

    manifest = _manifest(kind, name)
    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        exists = group.create_task(scene.watches[kind].of(name, WAIT_SECONDS))
        applied = group.create_task(workloads.until(is_applied, WAIT_SECONDS))
        await scene.client.workloads.apply(name, [manifest], members=[MEMBER])
    await scene.client.workloads.delete(name)
    await workloads.until(lambda: name not in workloads.now, WAIT_SECONDS)
    return (exists.result() - begun) * 1000, (applied.result() - begun) * 1000


async def _agent_memory(
    report: Report, scene: Scene, plane: ControlPlane, driver: Driver, one: HubProcess, measured: Running
) -> None:
    """The agent beside nodes and pods, started anew: with a kubeconfig, and as its pod runs it."""
    report.say(f"applying: {NODES} nodes, {PODS} pods, and the agent starts anew")
    await measured.stop()
    await _populate(driver)
    how = "VmRSS of `arbora agent run --kubeconfig`, which loads the client library to read that file"
    await _memory_of(report, scene, measured, MEMBER, "agent.memory.kubeconfig", how)
    await scene.client.members.evict(MEMBER)  # a cluster is one member, under one name
    with scratch() as mount:
        await install(plane, driver, mount, settings())
        token = (await scene.client.join_tokens.create("installed")).token
        installed = pod_agent(mount, "installed", one, token, plane.server)
        how = "VmRSS of the agent with the access and the rights of its pod, identity in a Secret"
        await _memory_of(report, scene, installed, "installed", "agent.memory", how)


async def _memory_of(report: Report, scene: Scene, worker: Running, name: str, id: str, how: str) -> None:
    def sees_all_nodes() -> bool:
        member = scene.members.now.get(f"/{name}")
        return member is not None and online(member) and not member.stale and member.status.nodes == NODES

    await scene.members.until(lambda: not sees_all_nodes(), WAIT_SECONDS)
    try:
        await worker.start()
        await scene.members.until(sees_all_nodes, WAIT_SECONDS)
        await asyncio.sleep(AGENT_SECONDS)
        worker.check()
        memory = proc.memory(worker.pid)
    finally:
        await worker.stop()
    how += (
        f"; {NODES} nodes and {PODS} pods in the cluster, {AGENT_SECONDS:g} s after Online; "
        f"RssAnon {memory.anonymous * 1024 / 1e6:.0f}"
    )
    report.figure(id, memory.rss * 1024 / 1e6, "MB", how, at_most=AGENT_MB)


async def _populate(driver: Driver) -> None:
    turn = asyncio.Semaphore(8)

    async def pod(number: int) -> None:
        async with turn:
            await driver.pod(NAMESPACE, f"pod-{number}", gpus=number % 2, node=f"node-{number % NODES}")

    for number in range(NODES):
        await driver.node(f"node-{number}", gpus=8, product="NVIDIA-H100-80GB-HBM3")
    await asyncio.gather(*(pod(number) for number in range(PODS)))


def _missing(report: Report) -> None:
    """Every figure of this part, with the reason."""
    for kind in KINDS:
        for id in ("one_member", f"{OTHERS}_idle"):
            for what, p50, p99 in (("exists", EXISTS_P50, EXISTS_P99), ("applied", APPLIED_P50, APPLIED_P99)):
                name = f"apply.{kind.lower()}.{what}.{id}"
                report.missing(f"{name}.p50", "ms", assets.MISSING, at_most=p50)
                report.missing(f"{name}.p99", "ms", assets.MISSING, at_most=p99)
    for id in ("agent.memory", "agent.memory.kubeconfig"):
        report.missing(id, "MB", assets.MISSING, at_most=AGENT_MB)


def _manifest(kind: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    if kind == "ConfigMap":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"name": name}}
    container = {"name": "main", "image": "registry.invalid/main:1", "command": ["true"]}
    pod = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": {"template": pod}}
