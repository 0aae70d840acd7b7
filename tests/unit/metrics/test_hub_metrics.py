"""What a hub counts on its loop and shows to Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow
from arbora.capacity.wire import sketch_to_wire
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node, Values
from arbora.gpus.wire import node_to_wire, values_to_wire
from arbora_hub.gateway.metrics import GPUS_AT_ONCE, HubMetrics
from arbora_hub.gpus import rollup
from arbora_hub.gpus.members import MemberGpus
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness, Terms
from arbora_hub.journal import Journal
from arbora_hub.store.opening import open_store
from arbora_hub.store.rows import ChildRow
from tests.support.metrics import Shown, shown

H100 = GpuClass("nvidia", "NVIDIA-H100-80GB-HBM3")
NAME = "NVIDIA H100 80GB HBM3"


@dataclass
class Parent:
    """Of a hub that has none, or has one."""

    attached: bool = False
    connected: bool = False


class Hub:
    """The parts of a hub that are counted."""

    def __init__(self, inventory: Inventory, journal: Journal) -> None:
        self.inventory = inventory
        self.gpus = MemberGpus(inventory, journal, asyncio.get_running_loop().time)
        self.parent = Parent()
        self.metrics = HubMetrics(inventory, range(3), (), self.gpus, self.parent)

    async def member(self, name: str, kind: str = "agent", row: SketchRow | None = None) -> Child:
        """A child that is connected, and has H100s if a row is given."""
        await self.inventory.admit(ChildRow(name, kind, f"uid-{name}", session_epoch=1))
        child = self.inventory.find(name)
        assert child is not None
        self.inventory.connected(child)
        if row is not None:
            sketch = sketch_to_wire(H100, row).SerializeToString()
            self.inventory.observed(child, f"sketch/{H100.key}", sketch)
        return child

    def says(self, child: Child, node: Node, *values: Values, name: str = "a") -> None:
        """The agent of one of its nodes reports."""
        self.gpus.observed(child, f"gpu/{name}", node_to_wire(node).SerializeToString())
        told = values_to_wire(node.layout, values).SerializeToString()
        self.gpus.observed(child, f"gpu-values/{name}", told)

    async def seen(self) -> Shown:
        await self.metrics.look()
        return shown(self.metrics.collect())


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    store = await open_store(tmp_path / "hub.db")
    journal = Journal(store, 100)
    inventory = Inventory(store, journal, Terms(10.0, 40.0, 60.0))
    await inventory.load()
    yield Hub(inventory, journal)
    await store.close()


def node(*health: Health, prefix: str = "GPU") -> Node:
    return Node(devices=tuple(Device(f"{prefix}-{i}", i, NAME, health=each) for i, each in enumerate(health)))


async def test_children_are_counted_by_kind_and_presence(hub: Hub) -> None:
    await hub.member("edge-7")
    gone = await hub.member("edge-8")
    hub.inventory.disconnected(gone, "the test says so")
    await hub.member("eu", "hub")
    found = await hub.seen()
    assert {key: value for key, value in found.samples["arbora_hub_children"].items() if value} == {
        frozenset({("kind", "agent"), ("liveness", "online")}): 1,
        frozenset({("kind", "agent"), ("liveness", "suspect")}): 1,
        frozenset({("kind", "hub"), ("liveness", "online")}): 1,
    }
    assert len(found.samples["arbora_hub_children"]) == 8
    assert found.one("arbora_hub_sessions") == 3


async def test_a_hub_without_members_shows_zeros_and_no_gpus(hub: Hub) -> None:
    found = await hub.seen()
    assert sum(found.samples["arbora_hub_children"].values()) == 0
    assert set(found.by("state", "arbora_hub_workloads").values()) == {0}
    assert "arbora_hub_gpus" not in found


async def test_the_uplink_is_told_of_only_where_there_is_a_parent(hub: Hub) -> None:
    assert "arbora_hub_uplink_connected" not in await hub.seen()
    hub.parent.attached = True
    assert (await hub.seen()).one("arbora_hub_uplink_connected") == 0
    hub.parent.connected = True
    assert (await hub.seen()).one("arbora_hub_uplink_connected") == 1


async def test_gpus_are_told_by_member_and_class(hub: Hub) -> None:
    await hub.member("edge-7", row=SketchRow(members=1, total=8, free=5, allocatable=7, used=2, unhealthy=1))
    await hub.member("edge-8", row=SketchRow(members=1, total=16, free=16, allocatable=16))
    found = await hub.seen()
    of_class = {"class": H100.product}
    assert found.by("member", "arbora_hub_gpus", state="free", **of_class) == {"edge-7": 5, "edge-8": 16}
    assert found.one("arbora_hub_gpus", member="edge-7", state="unhealthy") == 1
    assert "arbora_hub_gpu_health" not in found


async def test_a_lost_member_has_no_gpus_any_more(hub: Hub) -> None:
    child = await hub.member("edge-7", row=SketchRow(members=1, total=8, free=8, allocatable=8))
    hub.says(child, node(Health.HEALTHY))
    child.liveness = Liveness.LOST
    found = await hub.seen()
    assert found.one("arbora_hub_children", kind="agent", liveness="lost") == 1
    assert "arbora_hub_gpus" not in found
    assert "arbora_hub_gpu_health" not in found


async def test_what_devices_say_is_added_up_by_class(hub: Hub) -> None:
    child = await hub.member("edge-7")
    hub.says(child, node(Health.HEALTHY, Health.DEGRADED), Values(utilization=80, power=600), Values(power=100))
    hub.says(child, node(Health.HEALTHY, prefix="GPU-b"), Values(utilization=20), name="b")
    found = await hub.seen()
    labels = {"member": "edge-7", "class": H100.product}
    assert found.one("arbora_hub_gpu_utilization_ratio", **labels) == 0.5
    assert found.one("arbora_hub_gpu_power_watts", **labels) == 700
    assert found.by("health", "arbora_hub_gpu_health", **labels) == {
        "healthy": 2,
        "degraded": 1,
        "draining": 0,
        "unhealthy": 0,
        "recovering": 0,
    }


async def test_what_nobody_measures_is_absent(hub: Hub) -> None:
    hub.says(await hub.member("edge-7"), node(Health.HEALTHY), Values(temperature=60))
    found = await hub.seen()
    assert "arbora_hub_gpu_utilization_ratio" not in found
    assert "arbora_hub_gpu_power_watts" not in found


async def test_of_a_member_that_is_cut_off_the_health_counts_and_nothing_measured(hub: Hub) -> None:
    child = await hub.member("edge-7")
    hub.says(child, node(Health.UNHEALTHY), Values(utilization=80, power=600))
    hub.inventory.disconnected(child, "the test says so")
    found = await hub.seen()
    assert found.one("arbora_hub_gpu_health", health="unhealthy") == 1
    assert "arbora_hub_gpu_power_watts" not in found


async def test_so_it_is_with_a_node_whose_agent_is_silent(hub: Hub) -> None:
    child = await hub.member("edge-7")
    hub.says(child, replace(node(Health.HEALTHY), silent=True), Values(utilization=80, power=600))
    found = await hub.seen()
    assert found.one("arbora_hub_gpu_health", health="healthy") == 1
    assert "arbora_hub_gpu_utilization_ratio" not in found


async def test_a_child_hub_stands_for_everything_below_it(hub: Hub) -> None:
    child = await hub.member("eu", "hub")
    row = Rollup(
        devices=10,
        reporting=10,
        utilization_known=10,
        utilization_sum=50_000,
        power_milliwatts=4_000_000,
        healthy=9,
        unhealthy=1,
    )
    hub.gpus.observed(child, "gpu-rollup", rollup.to_wire([(H100, row)]).SerializeToString())
    found = await hub.seen()
    labels = {"member": "eu", "class": H100.product}
    assert found.one("arbora_hub_gpu_utilization_ratio", **labels) == 0.5
    assert found.one("arbora_hub_gpu_power_watts", **labels) == 4000
    assert found.one("arbora_hub_gpu_health", health="unhealthy", **labels) == 1


async def test_counting_a_large_member_lets_the_loop_go_on_and_names_no_single_gpu(hub: Hub) -> None:
    child = await hub.member("edge-7")
    nodes = 2 * GPUS_AT_ONCE // 8
    for index in range(nodes):
        here = node(*(Health.HEALTHY,) * 8, prefix=f"GPU-{index}")
        hub.says(child, here, *(Values(utilization=50, power=500),) * 8, name=f"n{index}")
    turns = 0
    looking = asyncio.create_task(hub.seen())
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2
    found = looking.result()
    assert found.one("arbora_hub_gpu_health", health="healthy") == 8 * nodes
    assert len(found.samples["arbora_hub_gpu_health"]) == 5
