"""When what is read of a driver, on a clock that the test turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arbora.clock import ManualClock
from arbora.errors import ArboraError
from arbora.gpus.health import Health
from arbora.gpus.model import Node, Values
from arbora_agent.gpu.port import GpusUnavailable
from arbora_agent.gpu.reading import Answer, GpuEvent, GpuReading, NodeFacts, Xid
from arbora_agent.gpu.recorded.form import Entry
from arbora_agent.gpu.recorded.reader import RecordedReader
from arbora_agent.node_agent import collector as module
from arbora_agent.node_agent.collector import Collector, ReadLog, Told
from arbora_agent.node_agent.watch import NodeWatch
from tests.support.eventually import eventually
from tests.support.gpus import facts_of, recording_of, uuid_of

ONE = uuid_of("n", 0)


class Node8:
    """A node whose agent collects, and what it tells."""

    def __init__(self, kernel_log: ReadLog | None = None) -> None:
        self.reader = RecordedReader(recording_of("n", 2))
        self.clock = ManualClock()
        self.watch = NodeWatch()
        self.nodes: list[Node] = []
        self.values: list[tuple[Values, ...]] = []
        self.reads = 0
        self.collector = Collector(
            _Counting(self), self.watch, self._tell, self.clock, interval=10.0, kernel_log=kernel_log
        )

    def _tell(self, told: Told) -> None:
        if told.node is not None:
            self.nodes.append(told.node)
        if told.values is not None:
            self.values.append(told.values[1])

    def health(self, index: int = 0) -> Health | None:
        """As last told."""
        return self.nodes[-1].devices[index].health if self.nodes and self.nodes[-1].devices else None

    async def turn(self, seconds: float) -> None:
        """Let so much time pass, once the collector waits for it."""
        await eventually(lambda: self.clock.next_moment() is not None, "the collector waits")
        self.clock.advance(seconds)


class _Counting:
    """A reader that counts how often a device was read."""

    def __init__(self, node: Node8) -> None:
        self._node = node

    def open(self) -> None:
        self._node.reader.open()

    def facts(self) -> NodeFacts:
        return self._node.reader.facts()

    def read(self, uuid: str) -> GpuReading:
        self._node.reads += 1
        return self._node.reader.read(uuid)

    def wait(self, seconds: float) -> tuple[GpuEvent, ...]:
        return self._node.reader.wait(seconds)

    def close(self) -> None:
        self._node.reader.close()


@asynccontextmanager
async def collecting(kernel_log: ReadLog | None = None) -> AsyncIterator[Node8]:
    node = Node8(kernel_log)
    task = asyncio.create_task(node.collector.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_device_is_read_at_once_and_then_every_ten_seconds() -> None:
    async with collecting() as node:
        await eventually(lambda: node.reads == 2, "both were read")
        await node.turn(9.0)
        await node.turn(1.0)
        await eventually(lambda: node.reads == 4, "both were read again")
        assert [len(each.devices) for each in node.nodes] == [2]
        assert len(node.values) == 1


async def test_an_event_is_told_before_the_next_reading_and_then_the_device_is_read() -> None:
    async with collecting() as node:
        await eventually(lambda: node.reads == 2, "both were read")
        node.reader.happen(Entry(0.0, event=Xid(79, ONE)))
        await eventually(lambda: node.health() is Health.UNHEALTHY, "told")
        await eventually(lambda: node.reads >= 3, "read at once")
        assert node.health(1) is Health.HEALTHY


async def test_uncorrected_errors_are_looked_at_again_after_a_moment() -> None:
    async with collecting() as node:
        node.reader.happen(Entry(0.0, uuid=ONE, read={"ecc_uncorrected": 1}))
        await eventually(lambda: node.reads == 2, "both were read")
        node.reader.happen(Entry(0.0, uuid=ONE, read={"ecc_uncorrected": 2}))
        await node.turn(10.0)
        await eventually(lambda: node.reads == 4, "both were read again")
        assert node.health() is Health.HEALTHY
        await node.turn(5.0)
        await eventually(lambda: node.health() is Health.UNHEALTHY, "told after the grace")


async def test_without_a_driver_it_says_why_and_tries_again() -> None:
    node = Node8()
    node.reader.happen(Entry(0.0, away="the driver is not loaded"))
    task = asyncio.create_task(node.collector.run())
    try:
        await eventually(lambda: node.nodes, "told")
        assert node.nodes[-1].trouble == "the driver is not loaded"
        assert node.nodes[-1].devices == ()
        node.reader.happen(Entry(0.0, away=""))
        await node.turn(module.REOPEN_SECONDS)
        await eventually(lambda: len(node.nodes[-1].devices) == 2, "devices were found")
        assert node.nodes[-1].trouble == ""
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_driver_that_was_loaded_anew_ends_what_was_wrong() -> None:
    async with collecting() as node:
        await eventually(lambda: node.reads == 2, "both were read")
        node.reader.happen(Entry(0.0, event=Xid(95, ONE)), Entry(0.0, uuid=ONE, read={"recovery_action": None}))
        await eventually(lambda: node.health() is Health.UNHEALTHY, "told")
        node.reader.happen(Entry(0.0, away="unloaded"))
        await node.turn(10.0)
        await eventually(lambda: node.nodes[-1].trouble == "unloaded", "noticed")
        await node.turn(module.REOPEN_SECONDS)  # still away
        await eventually(lambda: node.clock.next_moment() == 40.0, "waits for the next attempt")
        node.reader.happen(Entry(0.0, away=""))
        await node.turn(module.REOPEN_SECONDS)
        await eventually(lambda: node.nodes[-1].trouble == "", "back")
        await node.turn(30.0)
        await eventually(lambda: node.health() is Health.RECOVERING, "recovering")


async def test_a_device_that_the_driver_lists_no_more_is_looked_for() -> None:
    async with collecting() as node:
        await eventually(lambda: node.reads == 2, "both were read")
        node.reader.happen(Entry(0.0, facts=NodeFacts("570.86.10", "12.8", facts_of("n", 2).gpus[1:])))
        await node.turn(10.0)
        await eventually(lambda: node.nodes[-1].devices[-1].health is Health.UNHEALTHY, "missed")
        assert node.nodes[-1].devices[-1].uuid == ONE


async def test_the_kernel_log_is_read_once_and_before_the_first_judgement() -> None:
    asked: list[int] = []

    def read(gpus: object) -> tuple[Xid, ...]:
        asked.append(1)
        return (Xid(79, ONE, age=60.0),)

    async with collecting(read) as node:
        await eventually(lambda: node.nodes, "told")
        assert asked == [1]
        assert node.health() is Health.RECOVERING  # the driver asks for nothing, a minute later
        node.reader.happen(Entry(0.0, away="gone"))
        await node.turn(10.0)
        node.reader.happen(Entry(0.0, away=""))
        await node.turn(module.REOPEN_SECONDS)
        await eventually(lambda: node.nodes[-1].trouble == "", "opened again")
        assert asked == [1]


async def test_a_kernel_log_that_can_not_be_read_is_no_trouble() -> None:
    class Unreadable(ArboraError):
        pass

    def refuse(gpus: object) -> tuple[Xid, ...]:
        raise Unreadable("not permitted", hint="give it CAP_SYSLOG")

    async with collecting(refuse) as node:
        await eventually(lambda: node.nodes, "told")
        assert node.nodes[-1].trouble == ""
        assert node.health() is Health.HEALTHY


async def test_a_device_that_hangs_the_driver_is_named_and_takes_no_new_work() -> None:
    go_on = threading.Event()

    class Hangs(_Counting):
        def read(self, uuid: str) -> GpuReading:
            if uuid == ONE and self._node.reads >= 2 and not go_on.is_set():
                go_on.wait(10.0)
            return super().read(uuid)

    node = Node8()
    node.collector = Collector(Hangs(node), node.watch, node._tell, node.clock, call_seconds=0.05)
    task = asyncio.create_task(node.collector.run())
    try:
        await eventually(lambda: node.reads == 2, "both were read")
        await node.turn(10.0)
        await eventually(lambda: ONE in node.nodes[-1].trouble, "told")
        assert node.watch.devices[0].reading.answer is Answer.ANSWERS
    finally:
        go_on.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_reader_that_was_never_opened_is_closed_too() -> None:
    class Broken(_Counting):
        def open(self) -> None:
            raise GpusUnavailable("no library", hint="install it")

    node = Node8()
    node.collector = Collector(Broken(node), node.watch, node._tell, node.clock)
    task = asyncio.create_task(node.collector.run())
    await eventually(lambda: node.nodes, "told")
    assert node.nodes[-1].trouble == "no library. install it"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
