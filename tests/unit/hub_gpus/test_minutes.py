"""A minute ends: what devices did is history, sums go to the parent, and nothing stops the next minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from arbora.capacity.gpus import GpuClass
from arbora.errors import StorageFailed
from arbora.gpus.health import Health
from arbora.gpus.model import Values
from arbora.v1 import gpu_pb2, member_pb2
from arbora_hub.gpus import rollup
from arbora_hub.gpus.minute import Minute
from arbora_hub.gpus.minutes import KEPT_MINUTES, MINUTE, TRIM_EVERY, GpuMinutes, classes_of
from arbora_hub.gpus.packing import find, pack
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import GpuHistoryRow
from tests.support.virtual_time import in_virtual_time, virtual_loop
from tests.unit.hub_gpus.world import H100, L4, World, node

T = TypeVar("T")

NOW = 29_000_001
"""The minute that the tests begin in: none in which old ones are removed."""
WELL, BAD = Health.HEALTHY, Health.UNHEALTHY
BUSY = Values(utilization=80, memory_used_mib=1024, temperature=70, power=500)


@dataclass
class Parent:
    """The hub above, or none."""

    attached: bool = True
    heard: list[dict[GpuClass, Rollup]] = field(default_factory=list)
    """Every roll-up that it was told, oldest first."""
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        assert (key, volatile) == ("gpu-rollup", False)
        self.heard.append(rollup.from_wire(gpu_pb2.GpuRollups.FromString(value)))

    def on_parent(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def begins(self) -> None:
        """There is a new one."""
        self.attached = True
        self.heard.clear()
        for each in self.callbacks:
            each()


class Full:
    """A store that can write only as long as it is let."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failure: Exception | None = None

    async def write(self, fn: Callable[[WriteTx], Awaitable[T]]) -> T:
        if self.failure is not None:
            raise self.failure
        return await self._store.write(fn)

    async def read(self, fn: Callable[[ReadTx], Awaitable[T]]) -> T:
        return await self._store.read(fn)

    async def close(self) -> None:
        await self._store.close()


class Hub:
    """A world whose minutes end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = Full(world.store)
        self.parent = Parent()
        self.minute = NOW
        self.minutes = GpuMinutes(
            world.gpus, world.inventory, self.store, self.parent, world.clock, lambda: self.minute * MINUTE
        )

    async def minute_ends(self, seconds: float = MINUTE) -> int:
        """So many seconds pass, then the present minute ends; which it was."""
        self.world.passes(seconds)
        ended = self.minute
        self.minute += 1
        await self.minutes.close(ended)
        return ended

    async def rows(self, name: str = "edge-7") -> tuple[GpuHistoryRow, ...]:
        async def read(tx: ReadTx) -> tuple[GpuHistoryRow, ...]:
            return await tx.gpu_history.list(name, 0)

        return await self.store.read(read)

    async def history(self, uuid: str = "GPU-0", name: str = "edge-7") -> dict[int, Minute]:
        """By minute."""
        found = {row.minute: find(row.data, uuid) for row in await self.rows(name)}
        return {minute: each for minute, each in found.items() if each is not None}


@pytest.fixture
async def hub(world: World) -> Hub:
    return Hub(world)


async def working(hub: Hub, name: str = "edge-7", *classes: GpuClass) -> Child:
    """A member with a device that works."""
    child = await hub.world.child(name, "agent", *classes)
    here = node(WELL)
    hub.world.tells(child, here)
    hub.world.measures(child, here, BUSY)
    return child


# history


async def test_the_minute_of_every_device_is_kept_in_one_row_of_its_member(hub: Hub) -> None:
    child = await hub.world.child()
    for name in ("n1", "n2"):
        here = node(WELL, WELL, prefix=name)
        hub.world.tells(child, here, name)
        hub.world.measures(child, here, BUSY, Values(power=75), name=name)
    ended = await hub.minute_ends()
    assert [row.minute for row in await hub.rows()] == [ended]
    assert await hub.history("n2-0") == {ended: Minute(80, 80, 1024, 500, 70)}
    assert await hub.history("n1-1") == {ended: Minute(power=75)}


async def test_each_member_has_a_history_of_its_own(hub: Hub) -> None:
    for name in ("edge-7", "edge-8"):
        await working(hub, name)
    ended = await hub.minute_ends()
    for name in ("edge-7", "edge-8"):
        assert list(await hub.history(name=name)) == [ended]


async def test_a_value_that_does_not_change_is_in_every_minute(hub: Hub) -> None:
    await working(hub)
    ended = [await hub.minute_ends() for _ in range(3)]
    assert await hub.history() == dict.fromkeys(ended, Minute(80, 80, 1024, 500, 70))


async def test_a_member_of_which_nothing_was_measured_has_no_row(hub: Hub) -> None:
    await hub.world.child("edge-8")
    child = await hub.world.child()
    hub.world.tells(child, node(WELL, WELL))
    await hub.minute_ends()
    assert await hub.rows() == await hub.rows("edge-8") == ()


async def test_a_minute_that_was_kept_is_not_written_anew(hub: Hub) -> None:
    child = await working(hub)
    ended = await hub.minute_ends()
    hub.world.measures(child, node(WELL), Values(utilization=1))
    hub.minute = ended
    await hub.minute_ends(1.0)
    assert (await hub.history())[ended].utilization == 80


# devices that measure nothing any more


async def test_a_device_that_fell_off_the_bus_has_its_health_in_every_minute(hub: Hub) -> None:
    child = await working(hub)
    before = await hub.minute_ends()
    lost = node(BAD)
    hub.world.tells(child, lost)
    hub.world.measures(child, lost, Values())
    during = [await hub.minute_ends() for _ in range(3)]
    history = await hub.history()
    assert list(history) == [before, *during]
    assert history[before].health is WELL
    assert [history[each].health for each in during] == [BAD] * 3
    assert history[during[-1]] == Minute(health=BAD), "and nothing that it measured"


@pytest.mark.parametrize("health", [each for each in Health if each is not WELL])
async def test_whatever_is_wrong_with_a_device_is_kept_though_it_measures_nothing(
    hub: Hub, health: Health
) -> None:
    hub.world.tells(await hub.world.child(), node(health, WELL))
    ended = await hub.minute_ends()
    assert await hub.history("GPU-0") == {ended: Minute(health=health)}
    assert await hub.history("GPU-1") == {}, "healthy, and measured nothing"


async def test_a_fault_that_is_over_within_the_minute_is_kept_too(hub: Hub) -> None:
    child = await hub.world.child()
    hub.world.tells(child, node(BAD))
    hub.world.passes(20.0)
    hub.world.tells(child, node(WELL))
    ended = await hub.minute_ends(40.0)
    await hub.minute_ends()
    assert await hub.history() == {ended: Minute(health=BAD)}


async def test_a_node_whose_driver_can_not_be_read_is_heard_of(hub: Hub) -> None:
    child = await hub.world.child()
    hub.world.tells(child, replace(node(BAD), trouble="the driver is not loaded"))
    ended = await hub.minute_ends()
    assert await hub.history() == {ended: Minute(health=BAD)}


async def test_of_a_silent_node_nobody_knows_whether_its_devices_are_still_unhealthy(hub: Hub) -> None:
    child = await hub.world.child()
    hub.world.tells(child, replace(node(BAD), silent=True))
    await hub.minute_ends()
    assert await hub.history() == {}


async def test_nor_is_it_known_of_a_member_that_is_away(hub: Hub) -> None:
    child = await hub.world.child()
    hub.world.tells(child, node(BAD))
    hub.world.cut(child)
    await hub.minute_ends()
    assert await hub.history() == {}


async def test_a_device_that_measures_nothing_does_not_report(hub: Hub) -> None:
    hub.world.tells(await hub.world.child(), node(BAD))
    await hub.minute_ends()
    assert hub.parent.heard[-1] == {H100: Rollup(devices=1, unhealthy=1)}


# silence and absence


async def test_a_node_that_falls_silent_has_a_last_minute_and_then_a_gap(hub: Hub) -> None:
    child = await working(hub)
    hub.world.passes(30.0)
    hub.world.tells(child, replace(node(WELL), silent=True))
    first = await hub.minute_ends(30.0)
    await hub.minute_ends()
    hub.world.tells(child, node(WELL))
    third = await hub.minute_ends()
    assert list(await hub.history()) == [first, third]
    assert (await hub.history())[first].utilization == 80


async def test_a_member_that_is_away_at_the_end_of_a_minute_adds_nothing_to_it(hub: Hub) -> None:
    child = await working(hub)
    hub.world.cut(child)
    await hub.minute_ends()
    assert await hub.history() == {}
    assert hub.parent.heard[-1] == {}


async def test_a_member_that_is_back_goes_on_with_the_time_from_then_on(hub: Hub) -> None:
    child = await working(hub)
    first = await hub.minute_ends()
    hub.world.cut(child)
    await hub.minute_ends()
    hub.world.passes(30.0)
    hub.world.back(child)
    hub.world.measures(child, node(WELL), Values(utilization=20, temperature=30))
    third = await hub.minute_ends(30.0)
    history = await hub.history()
    assert list(history) == [first, third]
    assert history[third] == Minute(20, 20, temperature=30)


# sums


async def test_the_sums_of_all_members_go_to_the_parent_by_class(hub: Hub) -> None:
    await working(hub, "edge-7", H100)
    await working(hub, "edge-8", L4)
    await working(hub, "edge-9", H100, L4)
    await hub.minute_ends()
    sums = hub.parent.heard[-1]
    assert {each: (row.devices, row.power_milliwatts) for each, row in sums.items()} == {
        H100: (2, 1_000_000),
        L4: (1, 500_000),
    }, "where the sketches know one class only, it is that one"


async def test_a_sum_is_over_the_minute_and_not_of_its_end(hub: Hub) -> None:
    child = await working(hub)
    hub.world.passes(45.0)
    hub.world.measures(child, node(WELL), Values(utilization=0, temperature=30))
    await hub.minute_ends(15.0)
    (row,) = hub.parent.heard[-1].values()
    assert (row.utilization, row.utilization_max, row.temperature_max) == (60.0, 80, 70)


async def test_devices_of_a_silent_node_are_in_the_sums_as_silent(hub: Hub) -> None:
    child = await working(hub)
    hub.world.tells(child, replace(node(WELL), silent=True))
    await hub.minute_ends()
    await hub.minute_ends()
    (row,) = hub.parent.heard[-1].values()
    assert row == Rollup(devices=1, healthy=1, silent=1)


async def test_what_child_hubs_add_up_is_added_to_what_the_members_do(hub: Hub) -> None:
    await working(hub)
    for name in ("eu", "us"):
        child = await hub.world.child(name, "hub")
        hub.world.adds_up(child, (H100, Rollup(devices=8, healthy=7, unhealthy=1)), (L4, Rollup(devices=2)))
    await hub.minute_ends()
    sums = hub.parent.heard[-1]
    assert (sums[H100].devices, sums[H100].healthy, sums[H100].unhealthy) == (17, 15, 2)
    assert sums[L4] == Rollup(devices=4)


@pytest.mark.parametrize("liveness", [Liveness.SUSPECT, Liveness.LOST])
async def test_a_child_hub_that_is_not_present_adds_nothing(hub: Hub, liveness: Liveness) -> None:
    child = await hub.world.child("eu", "hub")
    hub.world.adds_up(child, (H100, Rollup(devices=8)))
    await hub.minute_ends()
    child.liveness = liveness
    await hub.minute_ends()
    assert hub.parent.heard == [{H100: Rollup(devices=8)}, {}]


async def test_a_hub_that_has_lost_its_last_gpus_says_so(hub: Hub) -> None:
    child = await working(hub)
    await hub.minute_ends()
    hub.world.gpus.observed(child, "gpu/n1", None)
    await hub.minute_ends()
    assert [sum(row.devices for row in each.values()) for each in hub.parent.heard] == [1, 0]


async def test_without_a_parent_minutes_are_kept_and_nobody_is_told(hub: Hub) -> None:
    hub.parent.attached = False
    await working(hub)
    ended = await hub.minute_ends()
    assert list(await hub.history()) == [ended]
    assert hub.parent.heard == []


async def test_a_new_parent_is_told_of_the_last_minute_at_once(hub: Hub) -> None:
    hub.parent.attached = False
    await working(hub)
    hub.parent.begins()
    assert hub.parent.heard == [], "no minute has ended yet"
    await hub.minute_ends()
    hub.parent.begins()
    assert [row.devices for row in hub.parent.heard[-1].values()] == [1]


async def test_sketches_that_can_not_be_read_name_no_class(hub: Hub) -> None:
    child = await working(hub, "edge-7", H100)
    child.sketches["sketch/odd"] = member_pb2.Sketch()
    assert classes_of(child) == [H100]
    await hub.minute_ends()
    assert list(hub.parent.heard[-1]) == [H100]


# the store


@pytest.mark.parametrize("failure", [StorageFailed("the disk is full"), None])
async def test_a_minute_that_can_not_be_kept_stops_neither_the_sums_nor_the_next_minute(
    hub: Hub, failure: Exception | None
) -> None:
    """None: the store contradicts, because it knows the member no more."""
    child = await working(hub)
    hub.store.failure = failure
    if failure is None:
        await hub.store.write(lambda tx: tx.children.delete(child.name))
    await hub.minute_ends()
    assert len(hub.parent.heard) == 1
    hub.store.failure = None
    await hub.store.write(lambda tx: tx.children.put(child.row))
    second = await hub.minute_ends()
    assert list(await hub.history()) == [second]


async def test_minutes_older_than_a_day_are_removed_now_and_then_even_if_there_are_no_new_ones(hub: Hub) -> None:
    child = await hub.world.child()
    oldest = NOW - KEPT_MINUTES
    old = [GpuHistoryRow(child.name, oldest + each, pack({"GPU-0": Minute(1)})) for each in range(40)]
    await hub.store.write(lambda tx: tx.gpu_history.add_many(old))
    left = []
    for _ in range(2 * TRIM_EVERY):
        ended = await hub.minute_ends()
        rows = await hub.rows()
        left.append(len(rows))
        assert rows[-1].minute == old[-1].minute
        assert rows[0].minute >= ended - KEPT_MINUTES - TRIM_EVERY
    assert len(set(left)) == 3, "as it was, and twice some less"
    assert rows[0].minute == ended - KEPT_MINUTES - (ended % TRIM_EVERY)


# by the clock


class Kept:
    """A store in memory, for the history alone: time that is made up does not wait for a thread that writes."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}

    async def write(self, fn: Callable[[Any], Awaitable[T]]) -> T:
        return await fn(SimpleNamespace(children=self, gpu_history=self))

    async def put(self, row: object) -> None:
        """A child."""

    async def add_many(self, rows: list[GpuHistoryRow]) -> None:
        for row in rows:
            self.rows.setdefault(row.minute, row.data)

    async def trim(self, before: int) -> int:
        return 0


@pytest.mark.parametrize("speed", [1.0, 0.9995, 1.0005])
def test_every_minute_is_closed_once_at_its_end_though_the_clocks_do_not_quite_agree(speed: float) -> None:
    async def main() -> None:
        loop, store = virtual_loop(), Kept()
        began = loop.time()

        def wall() -> float:
            return NOW * MINUTE + 20.0 + (loop.time() - began) * speed

        world, parent = World(cast(Store, store), loop.time(), loop.time), Parent()
        child = await world.child()
        here = node(WELL)
        world.tells(child, here)
        world.measures(child, here, BUSY)
        minutes = GpuMinutes(world.gpus, world.inventory, cast(Store, store), parent, loop.time, wall)
        running = asyncio.create_task(minutes.run())
        await asyncio.sleep(39.0)
        assert store.rows == {}
        await asyncio.sleep(4 * MINUTE)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert list(store.rows) == [NOW, NOW + 1, NOW + 2, NOW + 3]
        assert len(parent.heard) == 4

    in_virtual_time(main)
