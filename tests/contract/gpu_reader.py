"""What every adapter of the port `GpuReader` does, as tests over a `World`.

For: the adapters' own test modules. Each of them derives a class from `GpuReaderContract` and gives a fixture
`world`: a node with the means to do to it what happens to nodes. The tests never look at how an adapter works.

    class TestRecordedReader(GpuReaderContract):
        @pytest.fixture
        def world(self) -> Iterator[World]: ...
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import pytest

from arbora_agent.gpu.port import DeviceNotListed, GpuReader, GpusUnavailable
from arbora_agent.gpu.reading import Answer, GpuEvent, Xid

ONE, TWO, THREE = "GPU-1", "GPU-2", "GPU-3"
SOON = 5.0
"""Seconds within which an event must be told."""
NOT_LONG = 0.05

VALUES = {
    "utilization": 42,
    "temperature": 55,
    "memory_used": 7 * 1024**3,
    "power_mw": 333_000,
    "ecc_uncorrected": 4,
    "recovery_action": 1,
    "remap_pending": True,
}
"""Fields of a reading that a world can set."""


class World(Protocol):
    """A node with GPUs, around the adapter under test."""

    def reader(self) -> GpuReader:
        """A new adapter on this node, not opened. The fixture closes it at the end."""
        ...

    def add(self, uuid: str) -> None:
        """One more device, with the next index; it answers everything."""
        ...

    def set(self, uuid: str, name: str, value: int | bool | None) -> None:
        """One of VALUES becomes this; None: the device offers it no longer."""
        ...

    def lose(self, uuid: str) -> None:
        """It falls off the bus."""
        ...

    def require_reset(self, uuid: str) -> None:
        """It does nothing until it is reset."""
        ...

    def repair(self, uuid: str) -> None:
        """Neither of them any longer."""
        ...

    def raise_xid(self, code: int, uuid: str) -> None:
        """The driver reports an error."""
        ...

    def driver_gone(self) -> None:
        """The driver is unloaded."""
        ...

    def driver_back(self) -> None:
        """It is loaded again."""
        ...


def opened(world: World, *uuids: str) -> GpuReader:
    """A reader of a node with these devices."""
    for uuid in uuids:
        world.add(uuid)
    reader = world.reader()
    reader.open()
    return reader


def heard(reader: GpuReader, count: int = 1) -> list[GpuEvent]:
    """So many events, however many waits they need."""
    events: list[GpuEvent] = []
    end = time.monotonic() + SOON
    while len(events) < count and time.monotonic() < end:
        events += reader.wait(SOON)
    return events


class GpuReaderContract:
    """The tests. A subclass is named Test* and gives the fixture `world`."""

    # facts

    def test_facts_list_devices_in_the_order_of_their_indexes(self, world: World) -> None:
        reader = opened(world, ONE, TWO, THREE)
        facts = reader.facts()
        assert [(each.uuid, each.index) for each in facts.gpus] == [(ONE, 0), (TWO, 1), (THREE, 2)]

    def test_facts_name_the_driver(self, world: World) -> None:
        facts = opened(world, ONE).facts()
        assert (facts.driver, facts.cuda) == ("570.86.10", "12.8")

    def test_a_node_may_have_no_devices(self, world: World) -> None:
        assert opened(world).facts().gpus == ()

    def test_a_device_that_came_is_in_the_next_facts(self, world: World) -> None:
        reader = opened(world, ONE)
        world.add(TWO)
        assert [each.uuid for each in reader.facts().gpus] == [ONE, TWO]
        assert reader.read(TWO).answer is Answer.ANSWERS

    # reading

    @pytest.mark.parametrize("name", VALUES)
    def test_a_reading_tells_what_the_device_says_now(self, world: World, name: str) -> None:
        reader = opened(world, ONE)
        world.set(ONE, name, VALUES[name])
        assert getattr(reader.read(ONE), name) == VALUES[name]

    @pytest.mark.parametrize("name", VALUES)
    def test_what_a_device_does_not_offer_is_absent_and_nothing_else_is(self, world: World, name: str) -> None:
        reader = opened(world, ONE)
        for each in VALUES:
            world.set(ONE, each, VALUES[each])
        world.set(ONE, name, None)
        reading = reader.read(ONE)
        assert reading.answer is Answer.ANSWERS
        assert {each: getattr(reading, each) for each in VALUES} == {**VALUES, name: None}

    @pytest.mark.parametrize("name", VALUES)
    def test_zero_is_a_number(self, world: World, name: str) -> None:
        reader = opened(world, ONE)
        zero = type(VALUES[name])(0)
        world.set(ONE, name, zero)
        found = getattr(reader.read(ONE), name)
        assert found is not None
        assert found == zero

    def test_a_reading_is_of_the_device_that_was_asked(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        world.set(ONE, "temperature", 40)
        world.set(TWO, "temperature", 80)
        assert (reader.read(ONE).uuid, reader.read(ONE).temperature) == (ONE, 40)
        assert (reader.read(TWO).uuid, reader.read(TWO).temperature) == (TWO, 80)

    def test_a_device_that_is_not_listed_can_not_be_read(self, world: World) -> None:
        reader = opened(world, ONE)
        with pytest.raises(DeviceNotListed, match=TWO):
            reader.read(TWO)

    # faults of devices

    def test_a_lost_device_says_so_and_nothing_else(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        world.lose(ONE)
        reading = reader.read(ONE)
        assert reading.answer is Answer.LOST
        assert {getattr(reading, name) for name in VALUES} == {None}
        assert reader.read(TWO).answer is Answer.ANSWERS

    def test_a_lost_device_keeps_the_facts_that_it_was_last_seen_with(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        before = reader.facts()
        world.lose(ONE)
        assert reader.facts() == before
        assert reader.read(ONE).answer is Answer.LOST

    def test_a_device_that_needs_a_reset_says_so(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        before = reader.facts()
        world.require_reset(TWO)
        assert reader.read(TWO).answer is Answer.RESET_REQUIRED
        assert reader.facts() == before
        assert reader.read(TWO).answer is Answer.RESET_REQUIRED

    def test_a_device_that_is_back_is_read_as_before(self, world: World) -> None:
        reader = opened(world, ONE)
        before = reader.read(ONE)
        world.lose(ONE)
        assert reader.read(ONE).answer is Answer.LOST
        reader.facts()
        world.repair(ONE)
        assert reader.read(ONE) == before
        assert [each.uuid for each in reader.facts().gpus] == [ONE]

    # events

    def test_an_error_of_the_driver_is_told_once(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        world.raise_xid(79, TWO)
        assert heard(reader) == [Xid(79, TWO)]
        assert reader.wait(NOT_LONG) == ()

    def test_errors_are_told_in_their_order(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        for code, uuid in ((48, ONE), (13, TWO), (63, ONE)):
            world.raise_xid(code, uuid)
        assert heard(reader, 3) == [Xid(48, ONE), Xid(13, TWO), Xid(63, ONE)]

    def test_a_wait_without_events_ends_in_time(self, world: World) -> None:
        reader = opened(world, ONE)
        began = time.monotonic()
        assert reader.wait(NOT_LONG) == ()
        assert NOT_LONG * 0.9 <= time.monotonic() - began < SOON

    async def test_an_error_ends_a_wait_that_is_under_way(self, world: World) -> None:
        reader = opened(world, ONE)
        wait = asyncio.create_task(asyncio.to_thread(reader.wait, SOON))
        world.raise_xid(31, ONE)
        assert await wait == (Xid(31, ONE),)

    async def test_devices_are_read_while_somebody_waits(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        wait = asyncio.create_task(asyncio.to_thread(reader.wait, SOON))
        for _ in range(10):
            assert len(reader.facts().gpus) == 2
            assert reader.read(ONE).answer is Answer.ANSWERS
        world.raise_xid(31, TWO)
        assert await wait == (Xid(31, TWO),)

    # the driver

    def test_without_a_driver_nothing_is_opened(self, world: World) -> None:
        world.add(ONE)
        world.driver_gone()
        reader = world.reader()
        with pytest.raises(GpusUnavailable) as refusal:
            reader.open()
        assert refusal.value.retryable
        world.driver_back()
        reader.open()
        assert reader.read(ONE).answer is Answer.ANSWERS

    def test_a_driver_that_goes_away_is_noticed_by_every_call(self, world: World) -> None:
        reader = opened(world, ONE)
        world.driver_gone()
        with pytest.raises(GpusUnavailable):
            reader.read(ONE)
        with pytest.raises(GpusUnavailable):
            reader.facts()
        with pytest.raises(GpusUnavailable):
            reader.wait(SOON)
        with pytest.raises(GpusUnavailable):
            reader.open()

    def test_a_driver_that_is_back_is_opened_again(self, world: World) -> None:
        reader = opened(world, ONE, TWO)
        before = reader.facts()
        world.driver_gone()
        with pytest.raises(GpusUnavailable):
            reader.read(ONE)
        world.driver_back()
        reader.open()
        assert reader.facts() == before
        assert reader.read(TWO).answer is Answer.ANSWERS
        world.raise_xid(13, ONE)
        assert heard(reader) == [Xid(13, ONE)]

    # closing

    def test_a_reader_that_is_not_open_reads_nothing(self, world: World) -> None:
        world.add(ONE)
        reader = world.reader()
        with pytest.raises(GpusUnavailable):
            reader.facts()
        with pytest.raises(GpusUnavailable):
            reader.read(ONE)
        with pytest.raises(GpusUnavailable):
            reader.wait(NOT_LONG)

    def test_a_closed_reader_reads_nothing_until_it_is_opened(self, world: World) -> None:
        reader = opened(world, ONE)
        reader.close()
        reader.close()
        with pytest.raises(GpusUnavailable):
            reader.read(ONE)
        with pytest.raises(GpusUnavailable):
            reader.wait(NOT_LONG)
        reader.open()
        assert reader.read(ONE).answer is Answer.ANSWERS

    async def test_closing_ends_a_wait_that_is_under_way(self, world: World) -> None:
        reader = opened(world, ONE)
        wait = asyncio.create_task(asyncio.to_thread(reader.wait, 60.0))
        await asyncio.to_thread(reader.close)
        with pytest.raises(GpusUnavailable):
            await asyncio.wait_for(wait, SOON)
