"""Sessions of node agents: one for each node, for as long as its token lasts, and what each may cost.

Streams are in memory and time is made up; over a real socket see tests/integration/test_node_sessions.py.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import Signature, signature
from typing import Any

import grpc
import pytest

from arbora.clock import LoopClock
from arbora.errors import ArboraError, InvalidInput
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node
from arbora.gpus.wire import node_from_wire, node_to_wire
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange
from arbora.mirror.records import MAX_VALUE_BYTES
from arbora.rpc.guard import Caller, caller
from arbora.rpc.options import MAX_FRAME_BYTES
from arbora.session import frames
from arbora.session.accepted import MAX_RECORDS
from arbora.v1 import enrollment_pb2 as pb
from arbora.v1 import gpu_pb2, session_pb2
from arbora.version import PROTOCOL_VERSIONS, __version__
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.nodes import sessions as module
from arbora_agent.nodes.devices import SILENT_SECONDS, NodeDevices
from arbora_agent.nodes.marks import NodeMarks
from arbora_agent.nodes.sessions import EARLY_SECONDS, HELLO_SECONDS, MAX_RECORD_BYTES, MAX_TEXT, NodeSessions
from tests.support.virtual_time import in_virtual_time

ONE, TWO = "h100-0", "h100-1"
WALL = 1_800_000_000.0
READ_SECONDS = 3600.0
"""Of virtual time: nothing that a test waits for takes as long."""


def record_of(*healths: Health, **node: Any) -> bytes:
    """The record `gpu` of a node with such devices."""
    devices = tuple(Device(f"GPU-{index}", index, health=each) for index, each in enumerate(healths))
    return node_to_wire(Node(devices=devices, **node)).SerializeToString()


class Port:
    """The port of an agent of a cluster with two nodes, without a socket."""

    def __init__(self) -> None:
        clock = LoopClock()
        self.began = clock.monotonic()
        self.clock = clock
        cluster = SimulatedCluster(Simulation("2x8xH100", clock=clock))
        self.simulation = cluster.simulation
        self.up: dict[str, bytes] = {}
        self.devices = NodeDevices(
            cluster,
            self._put,
            self._delete,
            lambda event: None,
            lambda: None,
            lambda: {"w-1": "w" * 63},
            NodeMarks(cluster, frozenset(), lambda node, why: None, clock),
            clock,
        )
        self.sessions = NodeSessions(self.devices, self.wall)
        self.nodes: list[PlayedNode] = []
        self.watching = asyncio.create_task(cluster.run())

    def _put(self, key: str, value: bytes) -> None:
        if len(value) > MAX_VALUE_BYTES:  # as the link to the hub does
            raise InvalidInput(f"the value of {key} is too large")
        self.up[key] = value

    def wall(self) -> float:
        return WALL + self.clock.monotonic() - self.began

    def _delete(self, key: str) -> None:
        self.up.pop(key, None)

    def hub(self, node: str = ONE) -> Node:
        """What the hub has of a node."""
        return node_from_wire(gpu_pb2.NodeGpus.FromString(self.up[f"gpu/{node}"]))

    def health(self, node: str = ONE) -> Health:
        """Of the first device, as the hub has it."""
        return self.hub(node).devices[0].health

    def hold(self, name: str) -> None:
        """A pod of a workload holds a GPU of the first node."""
        limits = {"limits": {"nvidia.com/gpu": "1"}}
        spec = {"containers": [{"name": "main", "image": "busybox", "resources": limits}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}}
        self.simulation.apply({**pod, "spec": spec}, "w-1", 1)
        self.simulation.step()

    async def after(self, seconds: float) -> None:
        """Look again after so long."""
        await asyncio.sleep(seconds)
        self.devices.look()

    def node(self, name: str = ONE) -> PlayedNode:
        """Another node's agent, or the same one started anew."""
        self.nodes.append(PlayedNode(self.sessions, name))
        return self.nodes[-1]

    async def close(self) -> None:
        tasks = [self.watching, *(node.serving for node in self.nodes if node.serving is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class PlayedNode:
    """A node's agent, played frame by frame; to the handler it is a ServicerContext."""

    def __init__(self, sessions: NodeSessions, name: str) -> None:
        self.name = name
        self.exchange = Exchange(7)
        self.serving: asyncio.Task[None] | None = None
        self.raised: ArboraError | None = None
        """What the guard would tell the peer."""
        self._sessions = sessions
        self._up: asyncio.Queue[Any] = asyncio.Queue()
        self._down: asyncio.Queue[Any] = asyncio.Queue()

    # what the handler sees

    async def read(self) -> Any:
        return await self._up.get()

    async def write(self, frame: session_pb2.Down) -> None:
        self._down.put_nowait(session_pb2.Down.FromString(frame.SerializeToString()))

    async def _serve(self, until: float | None) -> None:
        caller.set(Caller(f"node/{self.name}", until=until))
        try:
            await self._sessions.Connect(None, self)  # type: ignore[arg-type]
        except ArboraError as error:
            self.raised = error
        finally:
            self._down.put_nowait(grpc.aio.EOF)

    # what the node's agent does

    def dial(self, until: float | None = None) -> None:
        """Open a stream. until: when the token ends."""
        self._up, self._down = asyncio.Queue(), asyncio.Queue()
        self.serving = asyncio.create_task(self._serve(until), name=f"serves {self.name}")

    def send(self, frame: session_pb2.Up) -> None:
        self._up.put_nowait(frame)

    def hello(self, **changes: Any) -> None:
        """An honest introduction, but for `changes`."""
        fields: dict[str, Any] = {
            "instance_id": "one",
            "kind": pb.CHILD_KIND_NODE,
            "version": __version__,
            "protocols": PROTOCOL_VERSIONS,
            "cursors": [wire.cursor_to_wire(lane, cursor) for lane, cursor in self.exchange.cursors()],
        }
        self.send(session_pb2.Up(hello=session_pb2.Hello(**{**fields, **changes})))

    async def heard(self) -> session_pb2.Down | None:
        """The next frame; None at the end of the stream."""
        async with asyncio.timeout(READ_SECONDS):
            frame = await self._down.get()
        if frame is grpc.aio.EOF:
            return None
        for ack in frame.acks:
            self.exchange.acked(*wire.cursor_from_wire(ack))
        assert isinstance(frame, session_pb2.Down)
        return frame

    async def goodbye(self) -> session_pb2.Goodbye:
        """The last word."""
        while (frame := await self.heard()) is not None:
            if frame.HasField("goodbye"):
                assert await self.heard() is None
                return frame.goodbye
        raise AssertionError(f"the stream ended without a word: {self.raised}")

    async def connected(self, until: float | None = None, **changes: Any) -> PlayedNode:
        """Dial and be welcome."""
        self.dial(until)
        self.hello(**changes)
        frame = await self.heard()
        assert frame is not None
        assert frame.HasField("welcome"), frame
        self.welcome = frame.welcome
        self.exchange.resume([wire.cursor_from_wire(each) for each in frame.welcome.cursors])
        return self

    async def refused(self, **changes: Any) -> session_pb2.Goodbye:
        """Dial and be told why not."""
        self.dial()
        self.hello(**changes)
        return await self.goodbye()

    async def tell(self, **records: bytes) -> int:
        """Set records, in which _ stands for -, send what is new and wait until it is acked; the records sent."""
        for key, value in records.items():
            self.exchange.put(key.replace("_", "-"), value)
        sent = 0
        while (frame := self.exchange.next_frame(MAX_FRAME_BYTES)) is not None:
            sent += len(frame.batch.records) if frame.batch is not None else 0
            self.send(frames.up(frame))
            await asyncio.sleep(0)
        while self.exchange.pending:
            assert await self.heard() is not None, "the stream ended"
            while (frame := self.exchange.next_frame(MAX_FRAME_BYTES)) is not None:
                sent += len(frame.batch.records) if frame.batch is not None else 0
                self.send(frames.up(frame))
        return sent

    async def lose(self) -> None:
        """The network cuts the stream; both ends see only that."""
        assert self.serving is not None
        self.serving.cancel()
        await asyncio.gather(self.serving, return_exceptions=True)
        self.exchange.cut()


def in_made_up_time(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that gets a port, and whose hours pass at once."""

    @wraps(story)
    def test(*arguments: Any, **fixtures: Any) -> None:
        async def main() -> None:
            port = Port()
            try:
                await story(*arguments, port=port, **fixtures)
            finally:
                await port.close()

        in_virtual_time(main)

    wanted = signature(story).parameters
    test.__signature__ = Signature([each for name, each in wanted.items() if name != "port"])  # type: ignore[attr-defined]
    return test


REFUSED: dict[str, tuple[int, str, dict[str, Any]]] = {
    "an agent of a cluster": (pb.REFUSAL_PROTOCOL, "only agents of nodes", {"kind": pb.CHILD_KIND_AGENT}),
    "a hub": (pb.REFUSAL_PROTOCOL, "only agents of nodes", {"kind": pb.CHILD_KIND_HUB}),
    "nobody in particular": (pb.REFUSAL_PROTOCOL, "only agents of nodes", {"kind": 0}),
    "a kind that nobody knows": (pb.REFUSAL_PROTOCOL, "only agents of nodes", {"kind": 77}),
    "another protocol": (pb.REFUSAL_VERSION_UNSUPPORTED, "speaks the protocols", {"protocols": [99]}),
    "no protocol": (pb.REFUSAL_VERSION_UNSUPPORTED, "speaks the protocols", {"protocols": []}),
    "a version that is too long": (pb.REFUSAL_PROTOCOL, "too long", {"version": "x" * (MAX_TEXT + 1)}),
    "an instance that is too long": (pb.REFUSAL_PROTOCOL, "too long", {"instance_id": "x" * 1_000_000}),
    "a cursor of no lane": (pb.REFUSAL_PROTOCOL, "lane", {"cursors": [session_pb2.Cursor(lane=9, epoch=1)]}),
    "a cursor of no epoch": (
        pb.REFUSAL_PROTOCOL,
        "epoch",
        {"cursors": [session_pb2.Cursor(lane=1, version=5)]},
    ),
}
"""Hellos, each with the one refusal that answers it."""


@pytest.mark.parametrize("row", REFUSED)
@in_made_up_time
async def test_whoever_introduces_itself_otherwise_is_refused_and_changes_nothing(port: Port, row: str) -> None:
    refusal, words, changes = REFUSED[row]
    node = await port.node().connected()
    await node.tell(gpu=record_of(Health.UNHEALTHY))
    answer = await port.node().refused(**changes)
    assert answer.reason == refusal
    assert words in answer.message
    assert len(answer.message) < 500
    # The agent that was there is still served.
    assert len(port.sessions) == 1
    await node.tell(gpu=record_of(Health.HEALTHY))
    assert port.health() is Health.HEALTHY
    await node.lose()
    await port.after(SILENT_SECONDS)
    assert port.hub().silent


@in_made_up_time
async def test_what_comes_before_hello_is_refused(port: Port) -> None:
    node = port.node()
    node.dial()
    node.send(session_pb2.Up())
    assert (await node.goodbye()).message == "the first frame must be Hello"
    assert len(port.sessions) == 0


@in_made_up_time
async def test_who_says_nothing_is_sent_away_after_a_moment(port: Port) -> None:
    node = port.node()
    node.dial()
    begin = port.clock.monotonic()
    answer = await node.goodbye()
    assert (answer.reason, answer.message) == (pb.REFUSAL_PROTOCOL, "no Hello within 5 s")
    assert port.clock.monotonic() - begin == HELLO_SECONDS


@in_made_up_time
async def test_a_session_speaks_of_the_node_that_its_token_names(port: Port) -> None:
    node = await port.node(TWO).connected()
    assert node.welcome.path == TWO
    await node.tell(gpu=record_of(Health.HEALTHY))
    assert list(port.up) == [f"gpu/{TWO}"]


@in_made_up_time
async def test_a_second_session_of_the_same_node_takes_over(port: Port) -> None:
    first = await port.node().connected()
    await first.tell(gpu=record_of(Health.HEALTHY))
    second = await port.node().connected()
    assert (await first.goodbye()).message == "a newer session of this node began"
    assert second.welcome.session_epoch > first.welcome.session_epoch
    assert len(port.sessions) == 1
    await second.tell(gpu=record_of(Health.UNHEALTHY))
    assert port.health() is Health.UNHEALTHY
    await port.after(2 * SILENT_SECONDS)
    assert not port.hub().silent  # the end of the first was not the end of the node's agent


@in_made_up_time
async def test_many_that_take_over_from_each_other_leave_one(port: Port) -> None:
    nodes = [await port.node().connected() for _ in range(20)]
    for each in nodes[:-1]:
        await each.goodbye()
    assert len(port.sessions) == 1
    await nodes[-1].lose()
    assert len(port.sessions) == 0


@in_made_up_time
async def test_other_nodes_keep_their_sessions(port: Port) -> None:
    other = await port.node(TWO).connected()
    await port.node(ONE).connected()
    await port.node(ONE).connected()
    assert len(port.sessions) == 2
    await other.tell(gpu=record_of(Health.DEGRADED))
    assert port.health(TWO) is Health.DEGRADED


@in_made_up_time
async def test_a_node_agent_that_comes_back_says_only_what_is_new(port: Port) -> None:
    node = await port.node().connected()
    await node.tell(gpu=record_of(Health.HEALTHY), gpu_values=b"")
    await node.lose()
    await node.connected()
    assert await node.tell() == 0
    assert await node.tell(gpu=record_of(Health.DRAINING)) == 1
    assert port.health() is Health.DRAINING


@in_made_up_time
async def test_one_whose_node_was_forgotten_says_everything_again(port: Port) -> None:
    """It says only what is new, and that of a node that has left the cluster is not kept."""
    node = await port.node().connected()
    await node.tell(gpu=record_of(Health.UNHEALTHY))
    await node.lose()
    port.simulation.remove_node(ONE)
    await port.after(SILENT_SECONDS)
    assert port.up == {}
    port.simulation.add_nodes("1x8xH100")
    await node.connected()
    await node.tell()
    assert port.health() is Health.UNHEALTHY


class TestTheEndOfAToken:
    @in_made_up_time
    async def test_the_session_ends_half_a_minute_before_its_token(self, port: Port) -> None:
        node = await port.node().connected(port.wall() + 3600.0)
        begin = port.clock.monotonic()
        answer = await node.goodbye()
        assert port.clock.monotonic() - begin == 3600.0 - EARLY_SECONDS
        assert (answer.reason, answer.message) == (pb.REFUSAL_NONE, "the token has run out")
        assert answer.retry_after.ToTimedelta().total_seconds() == 0.1  # with a fresh one, at once
        assert len(port.sessions) == 0

    @in_made_up_time
    async def test_one_that_has_all_but_ended_lasts_a_second_so_that_nobody_dials_without_a_pause(
        self, port: Port
    ) -> None:
        node = await port.node().connected(port.wall() - 100.0)
        begin = port.clock.monotonic()
        await node.goodbye()
        assert port.clock.monotonic() - begin == 1.0

    @in_made_up_time
    async def test_a_token_without_an_end_ends_no_session(self, port: Port) -> None:
        node = await port.node().connected(None)
        await asyncio.sleep(30 * 86_400.0)
        await node.tell(gpu=record_of(Health.HEALTHY))

    @in_made_up_time
    async def test_the_node_is_not_silent_meanwhile(self, port: Port) -> None:
        node = await port.node().connected(port.wall() + 100.0)
        await node.tell(gpu=record_of(Health.HEALTHY))
        await node.goodbye()
        node.exchange.cut()
        await node.connected(port.wall() + 3600.0)
        await port.after(2 * SILENT_SECONDS)
        assert not port.hub().silent

    @in_made_up_time
    async def test_that_of_an_earlier_session_does_not_end_a_later_one(self, port: Port) -> None:
        await port.node().connected(port.wall() + 100.0)
        later = await port.node().connected(port.wall() + 10_000.0)
        await asyncio.sleep(200.0)
        await later.tell(gpu=record_of(Health.HEALTHY))


class TestLimits:
    @in_made_up_time
    async def test_records_of_other_kinds_are_left_out_and_not_kept(self, port: Port) -> None:
        """A newer node agent may know more kinds; who sends them without end fills no memory here."""
        node = await port.node().connected()
        for begin in range(0, MAX_RECORDS + 1, 5_000):
            await node.tell(**{f"x/{begin + each}": b"?" for each in range(5_001)})
        await node.tell(gpu=record_of(Health.HEALTHY))
        assert list(port.up) == [f"gpu/{ONE}"]

    @in_made_up_time
    async def test_a_record_of_another_node_is_left_out_too(self, port: Port) -> None:
        node = await port.node().connected()
        await node.tell(**{f"gpu/{TWO}": record_of(Health.UNHEALTHY)})
        assert port.up == {}
        assert port.devices.nodes() == {}

    @in_made_up_time
    async def test_a_record_that_is_too_large_ends_the_session_and_is_not_kept(self, port: Port) -> None:
        node = await port.node().connected()
        await node.tell(gpu=record_of(Health.HEALTHY))
        node.exchange.put("gpu", b"x" * (MAX_RECORD_BYTES + 1))
        while (frame := node.exchange.next_frame(MAX_FRAME_BYTES)) is not None:
            node.send(frames.up(frame))
        answer = await node.goodbye()
        assert answer.reason == pb.REFUSAL_PROTOCOL
        assert "has more than" in answer.message
        assert port.health() is Health.HEALTHY

    @in_made_up_time
    async def test_the_largest_record_of_a_node_can_go_on_to_the_hub_with_as_many_holders_as_there_can_be(
        self, port: Port
    ) -> None:
        """What can't be passed on would end the agent, and no node's agent may do that."""
        devices = tuple(Device(f"GPU-{index:03}", index, name="x" * 253) for index in range(256))
        record = node_to_wire(Node(devices=devices))
        room = (MAX_RECORD_BYTES - record.ByteSize()) // 515
        for device, _ in zip(itertools.cycle(record.gpus), range(room), strict=False):
            device.mig.add(uuid="y" * 253, profile="y" * 253)
        assert 0.98 * MAX_RECORD_BYTES < record.ByteSize() <= MAX_RECORD_BYTES
        node = await port.node().connected()
        await node.tell(gpu=record.SerializeToString())
        for each in "abcdefgh":
            port.hold(f"{each * 253}")
        await port.after(10.0)
        assert [len(gpu.holders) for gpu in port.hub().devices] == [8] * 256

    @in_made_up_time
    async def test_a_second_hello_ends_the_session(self, port: Port) -> None:
        node = await port.node().connected()
        node.hello()
        assert "a second Hello" in (await node.goodbye()).message

    @in_made_up_time
    async def test_beyond_so_many_nodes_further_ones_are_sent_away_for_a_minute(
        self, port: Port, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_NODES", 1)
        node = await port.node(ONE).connected()
        answer = await port.node(TWO).refused()
        assert answer.reason == pb.REFUSAL_BUSY
        assert answer.retry_after.ToTimedelta().total_seconds() == 60.0
        await port.node(ONE).connected()  # who is there already is none more
        await node.goodbye()


@in_made_up_time
async def test_an_agent_that_stops_says_so_to_every_node(port: Port) -> None:
    nodes = [await port.node(name).connected() for name in (ONE, TWO)]
    port.sessions.close()
    for each in nodes:
        answer = await each.goodbye()
        assert answer.message == "the cluster's agent stops"
        assert answer.retry_after.ToTimedelta().total_seconds() == 1.0
    assert len(port.sessions) == 0
