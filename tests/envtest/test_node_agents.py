"""Node agents on a real API server: installed rights, tokens of pods, the CA in its ConfigMap, marks on nodes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arbora.kubernetes.access import AccessSource
from arbora_agent.app import Agent
from arbora_agent.cluster.port import CONDITION_TYPE, TAINT_KEY
from arbora_agent.gpu.reading import Answer, Xid
from arbora_agent.gpu.recorded.form import Entry
from arbora_agent.gpu.recorded.reader import RecordedReader
from arbora_agent.manifest.names import NODE_AGENT, NODE_AUDIENCE
from arbora_agent.node_agent.app import NodeAgent
from arbora_agent.node_agent.settings import NodeSettings
from tests.contract.cluster_world import PRODUCT
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld
from tests.envtest.installed import install, running, settings
from tests.support.eventually import eventually
from tests.support.gpus import recording_of, uuid_of
from tests.support.hub import RunningHub, running_hub

MARKS = ("taint", "condition")


@pytest.fixture
async def world(driver: Driver) -> AsyncIterator[KubernetesWorld]:
    async with KubernetesWorld(driver) as world:
        yield world


@dataclass
class Installed:
    """An installation that serves node agents."""

    hub: RunningHub
    agent: Agent
    driver: Driver
    namespace: str
    folder: Path

    @asynccontextmanager
    async def node_agent(
        self, node: str, account: str = NODE_AGENT
    ) -> AsyncIterator[tuple[NodeAgent, RecordedReader]]:
        """With what the kubelet would mount into its pod."""
        mounted = self.folder / node
        mounted.mkdir()
        token = await self.driver.token(self.namespace, account, NODE_AUDIENCE, node)
        (mounted / "token").write_text(token.reveal())
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/arbora-node-agents"
        shown = await self.driver.ask("GET", path)
        (mounted / "ca.crt").write_text(shown["data"]["ca.crt"])
        assert self.agent.nodes is not None
        address = f"127.0.0.1:{self.agent.nodes.server.port}"
        reader = RecordedReader(recording_of(node))
        agent = NodeAgent(NodeSettings(address, mounted / "token", mounted / "ca.crt"), reader)
        stop = asyncio.Event()
        task = asyncio.create_task(agent.run(stop))
        try:
            yield agent, reader
        finally:
            stop.set()
            await task


@asynccontextmanager
async def installation(
    plane: ControlPlane, world: KubernetesWorld, folder: Path, marks: tuple[str, ...] = MARKS
) -> AsyncIterator[Installed]:
    pod = folder / "pod"
    pod.mkdir()
    namespace = world.name("arbora")
    access: AccessSource = await install(
        plane, world.driver, pod, settings(namespace=namespace, mark_nodes=marks)
    )
    async with running_hub(folder / "hub") as hub:
        token = (await hub.admin.join_tokens.create("real")).token
        nodes = {"node_address": "127.0.0.1:0", "mark_nodes": MARKS}
        async with running(hub.hub, access, folder / "agent", token, **nodes) as agent:
            await eventually(lambda: agent.online, "it has joined")
            await eventually(lambda: agent.nodes and agent.nodes.server.port, "it listens for node agents")
            yield Installed(hub, agent, world.driver, namespace, folder)


async def test_a_lost_gpu_of_a_real_node_leaves_what_is_free_and_the_node_shows_it(
    plane: ControlPlane, world: KubernetesWorld, tmp_path: Path
) -> None:
    node = world.name("node")
    await world.add_node(node, gpus=8, product=PRODUCT)
    async with installation(plane, world, tmp_path) as installed, installed.node_agent(node) as (_, reader):

        def unhealthy() -> int:
            child = installed.hub.hub.inventory.find("real")
            rows = [row for sketch in child.sketches.values() for row in sketch.rows] if child is not None else []
            return sum(row.unhealthy for row in rows)

        uuid = uuid_of(node, 2)
        reader.happen(Entry(0.0, uuid=uuid, read={"answer": Answer.LOST}), Entry(0.0, event=Xid(79, uuid)))
        await eventually(lambda: unhealthy() == 1, "the hub knows")

        async def marked() -> dict[str, Any] | None:
            body = await world.driver.ask("GET", f"/api/v1/nodes/{node}")
            conditions = {each["type"]: each for each in body["status"]["conditions"]}
            tainted = TAINT_KEY in {taint["key"] for taint in body["spec"].get("taints", ())}
            return conditions.get(CONDITION_TYPE) if tainted else None

        condition = await eventually(marked, "the node shows it")
        assert condition["status"] == "True"
        assert uuid in condition["message"]
        assert condition["lastTransitionTime"]


async def test_a_token_of_another_account_is_refused(
    plane: ControlPlane, world: KubernetesWorld, tmp_path: Path
) -> None:
    node = world.name("node")
    await world.add_node(node, gpus=8, product=PRODUCT)
    async with (
        installation(plane, world, tmp_path) as installed,
        installed.node_agent(node, "somebody") as (stranger, _),
    ):
        await eventually(lambda: "somebody" in stranger.uplink.trouble, "refused by name")
        assert not stranger.uplink.connected


async def test_rights_that_are_missing_for_a_mark_are_told_and_change_nothing_else(
    plane: ControlPlane, world: KubernetesWorld, tmp_path: Path
) -> None:
    node = world.name("node")
    await world.add_node(node, gpus=8, product=PRODUCT)
    async with (
        installation(plane, world, tmp_path, marks=()) as installed,
        installed.node_agent(node) as (_, reader),
    ):
        reader.happen(Entry(0.0, event=Xid(79, uuid_of(node, 0))))

        async def told() -> bool:
            return "NodeNotMarked" in await installed.hub.reasons("member/real")

        await eventually(told, "told")
        reasons = await installed.hub.reasons("member/real")
        assert "GpuUnhealthy" in reasons


async def test_the_ca_of_node_agents_outlives_the_agent(
    plane: ControlPlane, world: KubernetesWorld, tmp_path: Path
) -> None:
    node = world.name("node")
    await world.add_node(node, gpus=8, product=PRODUCT)
    async with installation(plane, world, tmp_path) as installed:
        path = f"/api/v1/namespaces/{installed.namespace}"
        first = (await world.driver.ask("GET", f"{path}/configmaps/arbora-node-agents"))["data"]["ca.crt"]
        kept = (await world.driver.ask("GET", f"{path}/secrets/arbora-agent-identity"))["data"]
        assert base64.b64decode(kept["node-ca.crt"]).decode() == first
        assert "PRIVATE KEY" not in first
