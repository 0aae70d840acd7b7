"""What a hub says upwards: at once, not too often, nothing when nothing happens, everything to a new parent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from arbora.capacity.aggregate import NO_GPUS, from_wire
from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.v1 import member_pb2
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import Journal
from arbora_hub.store.opening import open_store
from arbora_hub.store.rows import ChildRow
from arbora_hub.tree.fencing import Fenced
from arbora_hub.tree.upward import Upward

H100 = GpuClass("nvidia", "H100")
KEY = "sketch/nvidia:H100::exclusive"


class Records:
    """An uplink that keeps what it is told, and counts what is new."""

    def __init__(self) -> None:
        self.attached = True
        self.kept: dict[str, bytes] = {}
        self.news: list[str] = []
        self._on_parent: list[Callable[[], None]] = []
        self.arrived = asyncio.Event()

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        if self.kept.get(key) != value:
            self.kept[key] = value
            self.news.append(key)
            self.arrived.set()

    def delete(self, key: str) -> None:
        del self.kept[key]

    def on_parent(self, callback: Callable[[], None]) -> None:
        self._on_parent.append(callback)

    def begin(self) -> None:
        """Another parent."""
        self.attached = True
        self.kept.clear()
        self.news.clear()
        for callback in self._on_parent:
            callback()

    def taken(self) -> list[str]:
        """What is new since the last time."""
        news, self.news = self.news, []
        return sorted(news)


class Hub:
    """An inventory, what is said of it, and a clock that is set by hand."""

    def __init__(self, inventory: Inventory, *, lines: bool = True, coalesce: float = 0.25) -> None:
        self.inventory = inventory
        self.records = Records()
        self.now = asyncio.get_running_loop().time()
        self.fenced: list[Fenced] = []
        self.upward = Upward(
            inventory,
            self.records,
            hub_id="id-own",
            placement_epoch=lambda: 3,
            lines=lines,
            clock=lambda: self.now,
            wall=lambda: 1000.0,
            coalesce_seconds=coalesce,
            fenced=self.fenced.append,
        )
        self.records.begin()

    async def join(self, name: str, kind: str = "agent", *, labels: dict[str, str] | None = None) -> Child:
        row = ChildRow(name, kind, f"uid-{name}", labels=labels or {}, session_epoch=1)
        await self.inventory.admit(row)
        child = self.inventory.find(name)
        assert child is not None
        self.inventory.connected(child)
        return child

    def gpus(self, child: Child, *free: int) -> None:
        row = sketch([NodeGpus("n", H100, 8, 8, 8 - each) for each in free], {})[H100]
        self.inventory.observed(child, KEY, sketch_to_wire(H100, row).SerializeToString())

    def later(self, seconds: float) -> list[str]:
        """Say what is due then; returns the keys of what was new."""
        self.now += seconds
        self.upward.put_due(self.now)
        return self.records.taken()

    def free(self) -> int:
        return sum(row.row.free for row in from_wire(member_pb2.Sketch.FromString(self.records.kept[KEY])))

    def status(self) -> member_pb2.SubtreeStatus:
        return member_pb2.ClusterStatus.FromString(self.records.kept["status"]).subtree

    def line(self, path: str) -> member_pb2.MemberLine:
        return member_pb2.MemberLine.FromString(self.records.kept[f"member/{path}"])


@pytest.fixture
async def inventory(tmp_path: Path) -> AsyncIterator[Inventory]:
    store = await open_store(tmp_path / "hub.db")
    yield Inventory(store, Journal(store, 100), Terms(10.0, 40.0, 60.0))
    await store.close()


async def test_a_change_after_a_quiet_time_goes_up_at_once_and_further_ones_together(
    inventory: Inventory,
) -> None:
    hub = Hub(inventory, lines=False)
    child = await hub.join("a")
    hub.gpus(child, 8)
    assert hub.later(0.0) == [KEY, "status"]
    assert hub.free() == 8
    for free in (7, 6, 5):
        hub.gpus(child, free)
        assert hub.later(0.01) == []
    assert hub.later(0.25) == [KEY]
    assert hub.free() == 5


async def test_without_coalescing_every_change_goes_up(inventory: Inventory) -> None:
    hub = Hub(inventory, lines=False, coalesce=0.0)
    child = await hub.join("a")
    for free in (8, 7, 6):
        hub.gpus(child, free)
        assert KEY in hub.later(0.0)
        assert hub.free() == free


async def test_an_idle_subtree_says_nothing(inventory: Inventory) -> None:
    hub = Hub(inventory)
    child = await hub.join("a")
    hub.gpus(child, 8)
    hub.later(0.0)
    hub.later(1.0)
    inventory.observed(child, KEY, child.sketches[KEY].SerializeToString())
    assert [key for _ in range(20) for key in hub.later(5.0)] == []


async def test_a_child_that_is_lost_is_no_longer_free_at_once_and_then_only_its_age_is_told(
    inventory: Inventory,
) -> None:
    hub = Hub(inventory)
    child = await hub.join("a")
    hub.gpus(child, 8)
    hub.later(1.0)
    inventory.disconnected(child, "the stream was lost")
    assert hub.later(1.0) == ["member/a", KEY, "status"]
    assert hub.free() == 0
    assert (hub.status().members_online, hub.status().members_suspect) == (0, 1)
    assert hub.line("a").liveness == member_pb2.LIVENESS_SUSPECT
    ages = sum(hub.later(10.0) == [KEY] for _ in range(100))
    assert 15 <= ages <= 20, "an age is told in growing steps"


WITHOUT_GPUS = f"sketch/{NO_GPUS.key}"


async def test_a_status_goes_up_at_most_once_a_second(inventory: Inventory) -> None:
    hub = Hub(inventory, lines=False)
    hub.later(0.0)
    await hub.join("a")
    assert "status" not in hub.later(0.5)
    assert hub.later(0.5) == ["status"]
    assert (hub.status().hub_id, hub.status().placement_epoch, hub.status().members) == ("id-own", 3, 1)


async def test_a_line_goes_up_at_most_once_in_five_seconds_and_a_gone_member_has_none(
    inventory: Inventory,
) -> None:
    hub = Hub(inventory)
    child = await hub.join("a")
    hub.gpus(child, 8)
    hub.later(0.0)
    for free in (7, 6, 5, 4):
        hub.gpus(child, free)
        assert "member/a" not in hub.later(1.0)
    assert "member/a" in hub.later(1.0)
    assert hub.line("a").gpus[0].free == 4
    await inventory.evict(child)
    hub.later(5.0)
    assert set(hub.records.kept) == {"status"}


async def test_that_a_member_far_below_went_or_came_is_passed_on_within_a_second_and_no_oftener(
    inventory: Inventory,
) -> None:
    hub = Hub(inventory)
    region = await hub.join("paris", "hub")

    def told(liveness: member_pb2.Liveness, version: str = "1") -> None:
        line = member_pb2.MemberLine(path="edge", liveness=liveness, version=version)
        inventory.observed(region, "member/edge", line.SerializeToString())

    told(member_pb2.LIVENESS_ONLINE)
    hub.later(0.0)
    hub.later(1.0)
    assert hub.line("paris/edge").liveness == member_pb2.LIVENESS_ONLINE
    told(member_pb2.LIVENESS_LOST)
    assert "member/paris/edge" in hub.later(1.0)
    told(member_pb2.LIVENESS_ONLINE)
    assert "member/paris/edge" not in hub.later(0.5)
    assert "member/paris/edge" in hub.later(0.5)
    told(member_pb2.LIVENESS_ONLINE, version="2")
    assert "member/paris/edge" not in hub.later(1.0)
    assert "member/paris/edge" in hub.later(4.0)


async def test_lines_of_a_child_hub_pass_with_its_name_before_them(inventory: Inventory) -> None:
    hub = Hub(inventory)
    region = await hub.join("paris", "hub")
    line = member_pb2.MemberLine(path="edge", liveness=member_pb2.LIVENESS_ONLINE, cluster_uid="u")
    inventory.observed(region, "member/edge", line.SerializeToString())
    hub.later(0.0)
    hub.later(5.0)
    assert hub.line("paris/edge").path == "paris/edge"
    inventory.disconnected(region, "the stream was lost")
    hub.later(5.0)
    assert hub.line("paris/edge").liveness == member_pb2.LIVENESS_SUSPECT
    inventory.connected(region)
    inventory.observed(region, "member/edge", None)
    hub.later(5.0)
    assert sorted(hub.records.kept) == ["member/paris", "status"]


async def test_lines_come_from_hubs_only_and_name_a_path(inventory: Inventory) -> None:
    agent, region = await Hub(inventory).join("a"), await Hub(inventory).join("paris", "hub")
    line = member_pb2.MemberLine(path="elsewhere").SerializeToString()
    for child, key in ((agent, "member/x"), (region, "member/"), (region, "member//x"), (region, "member/X")):
        inventory.observed(child, key, line)
    inventory.observed(region, "member/x", b"\xff")
    assert (agent.lines, region.lines) == ({}, {})
    inventory.observed(region, "member/x/y", line)
    assert region.lines["x/y"].path == "x/y"


async def test_where_lines_are_not_wanted_there_are_none_and_the_status_says_so(inventory: Inventory) -> None:
    hub = Hub(inventory, lines=False)
    await hub.join("a")
    hub.later(1.0)
    assert set(hub.records.kept) == {"status", WITHOUT_GPUS}
    assert not hub.status().lines


async def test_a_new_parent_is_told_everything(inventory: Inventory) -> None:
    hub = Hub(inventory)
    hub.gpus(await hub.join("a"), 8)
    hub.later(1.0)
    before = dict(hub.records.kept)
    hub.records.begin()
    assert hub.later(0.0) == sorted(before)
    assert hub.records.kept == before


async def test_a_root_says_nothing_and_tells_what_stands_in_two_places(inventory: Inventory) -> None:
    hub = Hub(inventory)
    hub.records.attached = False
    for name, epoch in (("old", 1), ("new", 2)):
        child = await hub.join(name, "hub")
        child.row = ChildRow(name, "hub", "id-x", session_epoch=1)
        status = member_pb2.ClusterStatus(subtree=member_pb2.SubtreeStatus(hub_id="id-x", placement_epoch=epoch))
        inventory.observed(child, "status", status.SerializeToString())
    assert hub.later(1.0) == []
    hub.later(9.0)
    assert hub.fenced == [Fenced("old", "new", "id-x")]


async def test_a_class_that_is_gone_below_is_gone_above(inventory: Inventory) -> None:
    hub = Hub(inventory, lines=False)
    child = await hub.join("a")
    hub.gpus(child, 8)
    hub.later(1.0)
    inventory.observed(child, KEY, None)
    hub.later(1.0)
    assert set(hub.records.kept) == {"status", WITHOUT_GPUS}


async def test_it_wakes_for_a_change_by_itself(inventory: Inventory) -> None:
    hub = Hub(inventory, lines=False, coalesce=0.0)
    hub.upward._clock = asyncio.get_running_loop().time
    hub.later(0.0)
    running = asyncio.create_task(hub.upward.run())
    hub.records.arrived.clear()
    hub.gpus(await hub.join("a"), 8)
    async with asyncio.timeout(5.0):
        while KEY not in hub.records.kept:
            hub.records.arrived.clear()
            await hub.records.arrived.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_line_has_a_digest_of_slow_facts_that_hubs_above_pass_on_unchanged(inventory: Inventory) -> None:
    hub = Hub(inventory)
    edge, region = await hub.join("edge"), await hub.join("paris", "hub")
    hub.later(0.0)
    assert hub.line("edge").facts == b""
    status = member_pb2.ClusterStatus(kubernetes_version="v1.36.0", api_healthy=True, nodes=3)
    inventory.observed(edge, "status", status.SerializeToString())
    hub.later(5.0)
    first = hub.line("edge")
    assert len(first.facts) == 8
    assert first.api_healthy
    status.nodes = 4
    inventory.observed(edge, "status", status.SerializeToString())
    assert "member/edge" not in hub.later(5.0)
    status.api_healthy = False
    inventory.observed(edge, "status", status.SerializeToString())
    hub.later(5.0)
    assert (hub.line("edge").facts, hub.line("edge").api_healthy) == (first.facts, False)
    status.properties.add(name="region", value="eu")
    inventory.observed(edge, "status", status.SerializeToString())
    hub.later(5.0)
    assert hub.line("edge").facts not in (first.facts, b"")
    first.cluster_uid = "another"
    inventory.observed(region, "member/below", first.SerializeToString())
    hub.later(5.0)
    assert (hub.line("paris/below").facts, hub.line("paris/below").api_healthy) == (first.facts, True)
    assert hub.line("paris").facts == b""


async def test_an_agent_that_has_just_started_takes_no_properties_back(inventory: Inventory) -> None:
    hub = Hub(inventory)
    edge = await hub.join("edge")
    told = member_pb2.ClusterStatus(properties_left_out=["large"])
    told.properties.add(name="region", value="eu")
    inventory.observed(edge, "status", told.SerializeToString())
    hub.later(5.0)
    before = hub.line("edge").facts
    started = member_pb2.ClusterStatus(properties_pending=True)
    inventory.observed(edge, "status", started.SerializeToString())
    hub.later(5.0)
    assert hub.line("edge").facts == before
    inventory.observed(edge, "status", member_pb2.ClusterStatus().SerializeToString())
    hub.later(5.0)
    assert hub.line("edge").facts != before
