"""What node agents say, kept current: what goes up to the hub of it, what is told, and what silence means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from arbora.clock import ManualClock
from arbora.gpus.health import Health
from arbora.gpus.model import Counters, Device, Holder, Node, Use, Values
from arbora.gpus.wire import device_to_wire, node_from_wire, node_to_wire, values_to_wire
from arbora.manifests.objects import ObjectRef
from arbora.v1 import gpu_pb2
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.nodes.devices import GATHER_SECONDS, LOOK_SECONDS, SILENT_SECONDS, NodeDevices
from arbora_agent.nodes.marks import NodeMarks
from arbora_agent.nodes.told import Event
from arbora_agent.nodes.usage import IDLE_SECONDS
from tests.support.eventually import eventually
from tests.support.hub import job

ONE = "h100-0"
"""The first node of the simulated cluster."""
WORKLOAD = "w-1"
IDLE, BUSY = Values(utilization=0, processes=0), Values(utilization=90, processes=1)


def node_of(count: int = 8, **changes: object) -> Node:
    """So many healthy devices; changes: of the first one."""
    first, *others = (Device(f"GPU-{index}", index, health_for=5.0) for index in range(count))
    return Node("570.86.10", "12.8", (replace(first, **changes), *others))  # type: ignore[arg-type]


BAD = node_of(health=Health.UNHEALTHY, reason="XID 79, the GPU has fallen off the bus")


class World:
    """The agent of a cluster with two nodes of 8 GPUs, up to where records leave for the hub."""

    def __init__(self, fleet: str = "2x8xH100") -> None:
        self.clock = ManualClock(1000.0)
        self.simulation = Simulation(fleet, clock=self.clock)
        self.cluster = SimulatedCluster(self.simulation)
        self.up: dict[str, bytes] = {}
        """What the hub has."""
        self.sent: list[str] = []
        """The keys of all that went there, in their order."""
        self.events: list[Event] = []
        self.forgotten: list[str] = []
        self.counted = 0
        """How often what is free had to be counted anew."""
        self.devices = NodeDevices(
            self.cluster,
            self._put,
            self._delete,
            self.events.append,
            self._count,
            lambda: {WORKLOAD: "train"},
            NodeMarks(self.cluster, frozenset(), lambda node, why: None, self.clock),
            self.clock,
        )

        self.devices.on_forgotten(self.forgotten.append)

    def _put(self, key: str, value: bytes) -> None:
        self.up[key] = value
        self.sent.append(key)

    def _delete(self, key: str) -> None:
        self.up.pop(key, None)

    def _count(self) -> None:
        self.counted += 1

    def connect(self, node: str = ONE) -> None:
        self.devices.connected(node)

    def leave(self, node: str = ONE) -> None:
        self.devices.disconnected(node)

    def say(self, said: Node, node: str = ONE) -> None:
        """The node's agent tells facts and health."""
        self.devices.observed(node, "gpu", node_to_wire(said).SerializeToString())

    def measure(self, values: Sequence[Values], layout: int | None = None, node: str = ONE) -> bytes:
        """The node's agent tells values; the record."""
        record = values_to_wire(node_of(len(values)).layout if layout is None else layout, values)
        self.devices.observed(node, "gpu-values", record.SerializeToString())
        return record.SerializeToString()

    def after(self, seconds: float) -> None:
        """Look again after so long."""
        self.clock.advance(seconds)
        self.devices.look()

    def hub(self, node: str = ONE) -> Node:
        """As the hub has it."""
        return node_from_wire(gpu_pb2.NodeGpus.FromString(self.up[f"gpu/{node}"]))

    def device(self, index: int = 0) -> Device:
        return self.hub().devices[index]

    def run(self, gpus: int, name: str = "train-1") -> ObjectRef:
        """A job of the workload `train` holds so many GPUs of the first nodes."""
        key = self.simulation.apply(job(name, gpus), WORKLOAD, 1)
        self.simulation.step()
        return self.simulation.ref(key)


@asynccontextmanager
async def watching(fleet: str = "2x8xH100") -> AsyncIterator[World]:
    """A world whose cluster is watched, as an agent does."""
    world = World(fleet)
    task = asyncio.create_task(world.cluster.run())
    try:
        await world.cluster.synced()
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def world() -> World:
    """One node's agent is there and has said that its eight GPUs are well."""
    made = World()
    made.connect()
    made.say(node_of())
    return made


class TestWhatGoesUp:
    def test_facts_and_health_go_up_under_the_name_of_the_node(self, world: World) -> None:
        found = world.hub()
        assert list(world.up) == [f"gpu/{ONE}"]
        assert (found.driver, found.cuda, found.silent, found.trouble) == ("570.86.10", "12.8", False, "")
        assert [each.uuid for each in found.devices] == [f"GPU-{index}" for index in range(8)]

    def test_use_is_filled_in_from_what_pods_ask_for(self, world: World) -> None:
        assert {each.use for each in world.hub().devices} == {Use.FREE}

    async def test_holders_are_filled_in_with_the_names_of_their_workloads(self) -> None:
        async with watching() as world:
            world.run(8)
            world.connect()
            world.say(node_of())
            (pod,) = world.cluster.gpu_pods()
            device = world.device()
            assert device.use is Use.HELD
            assert device.holders == (Holder("default", pod.name, "train", True),)

    def test_a_node_agent_is_not_believed_what_only_the_cluster_knows(self, world: World) -> None:
        lie = node_of(use=Use.LEAKED, holders=(Holder("default", "nobody", "train"),))
        world.say(replace(lie, silent=True))
        assert not world.hub().silent
        assert (world.device().use, world.device().holders) == (Use.FREE, ())

    def test_values_are_passed_on_as_they_came(self, world: World) -> None:
        newer = gpu_pb2.NodeGpuValues(layout=node_of().layout, gpus=[gpu_pb2.GpuValues(power=75)] * 8)
        record = newer.SerializeToString() + b"\xa2\x06\x03new"  # a field that this agent doesn't know
        world.devices.observed(ONE, "gpu-values", record)
        assert world.up[f"gpu-values/{ONE}"] == record

    def test_nodes_do_not_mix(self, world: World) -> None:
        world.connect("h100-1")
        world.say(BAD, "h100-1")
        assert world.device().health is Health.HEALTHY
        assert world.hub("h100-1").devices[0].health is Health.UNHEALTHY
        assert sorted(world.devices.nodes()) == ["h100-0", "h100-1"]

    def test_whoever_has_said_nothing_is_no_node_yet(self) -> None:
        world = World()
        world.connect()
        world.after(LOOK_SECONDS)
        assert world.devices.nodes() == {}
        assert world.up == {}

    def test_why_devices_can_not_be_read_goes_up_too(self, world: World) -> None:
        world.say(Node(trouble="NVIDIA's driver can't be reached: NVML Shared Library Not Found"))
        assert world.hub().trouble.endswith("NVML Shared Library Not Found")
        assert world.hub().devices == ()

    def test_a_change_of_health_lets_what_is_free_be_counted_anew(self, world: World) -> None:
        before = world.counted
        world.say(BAD)
        assert world.counted > before
        assert world.devices.nodes()[ONE].devices[0].health is Health.UNHEALTHY


class TestAges:
    def test_nothing_is_sent_again_when_only_ages_differ(self, world: World) -> None:
        sent, counted = len(world.sent), world.counted
        older = tuple(replace(each, health_for=each.health_for + 60.0) for each in node_of().devices)
        world.say(replace(node_of(), devices=older))
        for _ in range(10):
            world.after(LOOK_SECONDS)
        assert (len(world.sent), world.counted) == (sent, counted)

    def test_the_age_of_what_was_said_a_while_ago_goes_up_as_it_is_now(self, world: World) -> None:
        world.leave()
        world.after(SILENT_SECONDS)
        assert world.hub().silent
        assert world.device().health_for == 5.0 + SILENT_SECONDS

    def test_an_age_begins_anew_with_what_is_said_anew(self, world: World) -> None:
        world.clock.advance(100.0)
        world.say(node_of(health=Health.DEGRADED, health_for=0.5))
        assert world.device(0).health_for == 0.5
        assert world.device(1).health_for == 5.0  # as its agent counts it; 100 s are for the agent to add

    def test_an_age_that_was_repeated_and_not_sent_still_counts(self, world: World) -> None:
        """The hub heard 5 s at the beginning; its agent said 65 s a minute later; then it fell silent."""
        world.clock.advance(60.0)
        world.say(node_of(health_for=65.0))
        world.leave()
        world.after(SILENT_SECONDS)
        assert world.device().health_for == 65.0 + SILENT_SECONDS

    def test_what_only_counts_goes_up_as_often_as_it_is_told(self, world: World) -> None:
        world.say(node_of(counters=Counters(pcie_replays=7)))
        assert world.device().counters.pcie_replays == 7


class TestSilence:
    def test_a_node_whose_agent_is_away_for_40_seconds_counts_as_silent_and_not_before(
        self, world: World
    ) -> None:
        assert SILENT_SECONDS == 40.0
        world.leave()
        world.after(39.9)
        assert not world.hub().silent
        world.after(0.1)
        assert world.hub().silent

    def test_an_agent_that_is_there_and_has_nothing_new_to_say_is_not_silent(self, world: World) -> None:
        world.after(10 * SILENT_SECONDS)
        assert not world.hub().silent

    def test_it_is_heard_again_as_soon_as_it_is_back(self, world: World) -> None:
        world.leave()
        world.after(SILENT_SECONDS)
        world.clock.advance(5.0)
        world.connect()
        assert not world.hub().silent
        assert world.device().health_for == 5.0 + SILENT_SECONDS + 5.0

    def test_a_short_cut_is_not_noticed(self, world: World) -> None:
        sent = len(world.sent)
        world.leave()
        world.after(SILENT_SECONDS - 1)
        world.connect()
        world.after(SILENT_SECONDS)
        assert len(world.sent) == sent

    def test_the_time_away_begins_anew_with_each_cut(self, world: World) -> None:
        for _ in range(3):
            world.leave()
            world.after(SILENT_SECONDS - 1)
            world.connect()
        world.leave()
        world.after(SILENT_SECONDS - 1)
        assert not world.hub().silent

    def test_its_last_health_counts_meanwhile(self, world: World) -> None:
        world.say(BAD)
        world.leave()
        world.after(100 * SILENT_SECONDS)
        assert world.device().health is Health.UNHEALTHY
        assert world.devices.nodes()[ONE].devices[0].health is Health.UNHEALTHY

    def test_silence_is_no_news_of_the_devices(self, world: World) -> None:
        world.say(BAD)
        world.events.clear()
        world.leave()
        world.after(SILENT_SECONDS)
        world.connect()
        assert world.events == []


class TestForgetting:
    async def test_a_node_that_left_the_cluster_is_forgotten_with_both_records(self) -> None:
        async with watching() as world:
            world.connect()
            world.say(node_of())
            world.measure([IDLE] * 8)
            world.leave()
            world.simulation.remove_node(ONE)
            world.after(SILENT_SECONDS - 1)
            assert ONE in world.devices.nodes()
            counted = world.counted
            world.after(1.0)
            assert world.forgotten == [ONE]
            assert world.devices.nodes() == {}
            assert world.up == {}
            assert world.counted > counted

    async def test_a_node_that_is_still_there_is_never_forgotten(self) -> None:
        async with watching() as world:
            world.connect()
            world.say(node_of())
            world.leave()
            world.after(1_000 * SILENT_SECONDS)
            assert list(world.up) == [f"gpu/{ONE}"]

    async def test_a_node_that_kubernetes_shows_no_gpus_of_is_not_forgotten_while_its_agent_is_there(
        self,
    ) -> None:
        async with watching() as world:
            world.connect()
            world.say(node_of())
            world.simulation.remove_node(ONE)
            world.after(10 * SILENT_SECONDS)
            assert ONE in world.devices.nodes()

    async def test_one_that_never_said_anything_is_forgotten_too(self) -> None:
        async with watching() as world:
            world.connect("a-stranger")
            world.leave("a-stranger")
            world.after(SILENT_SECONDS - 1)
            assert world.forgotten == []
            world.after(1.0)
            assert world.forgotten == ["a-stranger"]

    async def test_one_that_comes_back_under_the_same_name_begins_anew(self) -> None:
        async with watching() as world:
            world.connect()
            world.say(BAD)
            world.leave()
            world.simulation.remove_node(ONE)
            world.after(SILENT_SECONDS)
            world.simulation.add_nodes("1x8xH100")
            world.connect()
            assert world.up == {}
            world.say(node_of())
            assert world.device().health is Health.HEALTHY


class TestEvents:
    def test_a_change_of_health_is_told(self, world: World) -> None:
        world.say(BAD)
        (event,) = world.events
        assert (event.severity, event.reason, event.subject) == (
            "warning",
            "GpuUnhealthy",
            f"gpu/{ONE}/GPU-0",
        )
        assert "XID 79" in event.message

    def test_once(self, world: World) -> None:
        world.say(BAD)
        world.say(BAD)
        world.after(LOOK_SECONDS)
        assert len(world.events) == 1

    def test_and_so_is_its_end(self, world: World) -> None:
        for health in (Health.UNHEALTHY, Health.RECOVERING, Health.HEALTHY):
            world.say(node_of(health=health))
        assert [event.reason for event in world.events] == ["GpuUnhealthy", "GpuRecovering", "GpuHealthy"]

    async def test_a_workload_on_the_device_is_told_too(self) -> None:
        async with watching() as world:
            world.run(8)
            world.connect()
            world.say(node_of())
            world.say(BAD)
            assert [event.subject for event in world.events] == [f"gpu/{ONE}/GPU-0", "workload/train"]


class TestWhatCanNotBeRead:
    @pytest.mark.parametrize(
        "record",
        [
            b"\xff\xff no message",
            gpu_pb2.NodeGpus(gpus=[gpu_pb2.GpuDevice(uuid="GPU-0")], layout=1).SerializeToString(),
            gpu_pb2.NodeGpus(gpus=[gpu_pb2.GpuDevice()]).SerializeToString(),
            gpu_pb2.NodeGpus(gpus=[device_to_wire(Device("GPU-0", each)) for each in (0, 1)]).SerializeToString(),
            gpu_pb2.NodeGpus(driver="x" * 1000).SerializeToString(),
        ],
        ids=["no message", "another layout", "no UUID", "a UUID twice", "a text that is too long"],
    )
    def test_an_unreadable_record_changes_nothing(self, world: World, record: bytes) -> None:
        world.say(BAD)
        before = (dict(world.up), len(world.events), world.devices.nodes())
        world.devices.observed(ONE, "gpu", record)
        world.after(LOOK_SECONDS)
        assert (world.up, len(world.events), world.devices.nodes()) == before

    @pytest.mark.parametrize(
        "record",
        [
            b"\xff\xff no message",
            gpu_pb2.NodeGpuValues(gpus=[gpu_pb2.GpuValues(utilization=101)]).SerializeToString(),
            gpu_pb2.NodeGpuValues(gpus=[gpu_pb2.GpuValues()] * 1000).SerializeToString(),
        ],
        ids=["no message", "more than all", "too many devices"],
    )
    def test_nor_do_unreadable_values(self, world: World, record: bytes) -> None:
        good = world.measure([IDLE] * 8)
        world.devices.observed(ONE, "gpu-values", record)
        assert world.up[f"gpu-values/{ONE}"] == good

    @pytest.mark.parametrize("key", ["gpu", "gpu-values"])
    def test_nor_does_a_record_that_its_agent_took_back(self, world: World, key: str) -> None:
        world.measure([IDLE] * 8)
        before = dict(world.up)
        world.devices.observed(ONE, key, None)
        world.after(LOOK_SECONDS)
        assert world.up == before

    @pytest.mark.parametrize("key", ["status", "gpu/h100-1", "gpu-history", "x" * 500])
    def test_records_of_other_kinds_are_left_out(self, world: World, key: str) -> None:
        before = dict(world.up)
        world.devices.observed(ONE, key, node_to_wire(BAD).SerializeToString())
        assert world.up == before


class TestValues:
    """They tell whether something runs on a device: a device that is held by a pod and unused is idle."""

    async def test_what_runs_is_seen_in_the_values(self) -> None:
        async with watching() as world:
            world.run(8)
            world.connect()
            world.say(node_of())
            world.measure([BUSY, *[IDLE] * 7])
            world.after(LOOK_SECONDS)
            world.after(IDLE_SECONDS)
            assert [each.use for each in world.hub().devices] == [Use.HELD, *[Use.IDLE] * 7]

    @pytest.mark.parametrize(
        ("layout", "count"),
        [(None, 7), (1, 8)],
        ids=["of fewer devices", "of other devices"],
    )
    async def test_values_of_another_layout_are_left_out(self, layout: int | None, count: int) -> None:
        async with watching() as world:
            world.run(8)
            world.connect()
            world.say(node_of())
            world.measure([IDLE] * count, layout)
            world.after(LOOK_SECONDS)
            world.after(2 * IDLE_SECONDS)
            assert {each.use for each in world.hub().devices} == {Use.HELD}

    async def test_values_that_were_there_before_their_layout_count_as_soon_as_it_is_said(self) -> None:
        async with watching() as world:
            world.run(8)
            world.connect()
            world.measure([IDLE] * 8)
            world.say(node_of())
            world.after(LOOK_SECONDS)
            world.after(IDLE_SECONDS)
            assert {each.use for each in world.hub().devices} == {Use.IDLE}


class Looking(World):
    """A world that looks by itself."""

    async def looks(self, seconds: float) -> None:
        """Let it look after so long, once it waits for that moment."""
        await self._waits(seconds)
        self.clock.advance(seconds)
        await self._waits(LOOK_SECONDS)

    async def _waits(self, seconds: float) -> None:
        moment = self.clock.monotonic() + seconds
        await eventually(lambda: self.clock.next_moment() == moment, f"it waits for {seconds:g} s")


@asynccontextmanager
async def running() -> AsyncIterator[Looking]:
    world = Looking()
    world.cluster.subscribe(on_capacity=world.devices.pods_changed, on_object=lambda ref, uid: None)
    tasks = [asyncio.create_task(world.cluster.run()), asyncio.create_task(world.devices.run())]
    try:
        await world.cluster.synced()
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class TestTime:
    async def test_pods_that_come_and_go_are_seen_soon(self) -> None:
        async with running() as world:
            world.connect()
            world.say(node_of())
            ref = world.run(8)
            await world.looks(GATHER_SECONDS)
            assert world.device().use is Use.HELD
            world.simulation.finish(ref)
            await world.looks(GATHER_SECONDS)
            assert world.device().use is Use.FREE

    async def test_silence_is_noticed_without_anything_happening(self) -> None:
        async with running() as world:
            world.connect()
            world.say(node_of())
            world.leave()
            for _ in range(int(SILENT_SECONDS / LOOK_SECONDS)):
                assert not world.hub().silent
                await world.looks(LOOK_SECONDS)
            assert world.hub().silent
