"""All GPUs of the cluster as their nodes' agents say, kept current, and what follows from each change.

    a node's agent reports  ->  use and holders filled in  ->  `gpu/<node>`, `gpu-values/<node>` go up to the hub
                                                           ->  what is free is counted anew
                                                           ->  events, marks on the node
    pods come and go, time passes, an agent falls silent  ->  the same, every few seconds

Decides nothing by itself: `usage.py`, `told.py`, `marks.py` and `gpu/exclusion.py` do.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from google.protobuf.message import DecodeError

from arbora.capacity.gpus import NodeGpus
from arbora.clock import Clock, wait_for
from arbora.errors import InvalidInput
from arbora.gpus.model import Node, Values
from arbora.gpus.wire import node_from_wire, node_to_wire, values_from_wire
from arbora.v1 import gpu_pb2
from arbora_agent.cluster.port import Cluster, GpuPod
from arbora_agent.nodes.marks import NodeMarks
from arbora_agent.nodes.told import Event, changes
from arbora_agent.nodes.usage import Remembered, judge_use

log = structlog.get_logger(__name__)

SILENT_SECONDS = 40.0
"""Without a session, after which a node's agent counts as silent: the lease of any child."""
LOOK_SECONDS = 10.0
"""How often use is looked at, besides when something changes."""
GATHER_SECONDS = 1.0
"""How long changes of pods are gathered first."""

GPU, VALUES = "gpu", "gpu-values"
"""The two records of a node's agent, and kinds of those that go up."""


@dataclass(slots=True)
class Known:
    """One node."""

    remembered: Remembered
    connected: bool = False
    away_since: float = 0.0
    said: Node | None = None
    """As its agent said."""
    said_at: float = 0.0
    node: Node | None = None
    """With use and holders, and whether it is silent; as it went up."""
    layout: int = 0
    values: tuple[Values, ...] = ()


class NodeDevices:
    """The GPUs of all nodes."""

    def __init__(
        self,
        cluster: Cluster,
        put: Callable[[str, bytes], None],
        delete: Callable[[str], None],
        event: Callable[[Event], None],
        changed: Callable[[], None],
        names: Callable[[], Mapping[str, str]],
        marks: NodeMarks,
        clock: Clock,
    ) -> None:
        """put, delete: records for the hub. changed: what is free has to be counted anew. names: of the workloads
        that are assigned here, by uid."""
        self._cluster = cluster
        self._put = put
        self._delete = delete
        self._event = event
        self._changed = changed
        self._names = names
        self._marks = marks
        self._clock = clock
        self._nodes: dict[str, Known] = {}
        self._on_forgotten: list[Callable[[str], None]] = []
        self._wake = asyncio.Event()

    def nodes(self) -> Mapping[str, Node]:
        """Every node that said something, by name."""
        return {name: known.node for name, known in self._nodes.items() if known.node is not None}

    def on_forgotten(self, callback: Callable[[str], None]) -> None:
        """Hear the name of each node that is forgotten: whatever its agent has told is not known any more."""
        self._on_forgotten.append(callback)

    def pods_changed(self) -> None:
        """Pods or nodes of the cluster changed; use is looked at soon."""
        self._wake.set()

    # what node agents do

    def connected(self, name: str) -> None:
        """The agent of a node has a session."""
        known = self._nodes.setdefault(name, Known(Remembered(self._clock.monotonic())))
        known.connected = True
        if known.node is not None and known.node.silent:
            self._look(name, known)

    def disconnected(self, name: str) -> None:
        """It has none any more."""
        known = self._nodes[name]
        known.connected = False
        known.away_since = self._clock.monotonic()

    def observed(self, name: str, key: str, value: bytes | None) -> None:
        """A record of a node's agent came in; None: it took it back, which changes nothing."""
        known = self._nodes[name]
        if value is None:
            return
        try:
            if key == GPU:
                known.said = node_from_wire(gpu_pb2.NodeGpus.FromString(value))
                known.said_at = self._clock.monotonic()
                self._look(name, known)
            elif key == VALUES:
                message = gpu_pb2.NodeGpuValues.FromString(value)
                known.layout, known.values = values_from_wire(message)
                self._put(f"{VALUES}/{name}", value)
        except (DecodeError, InvalidInput) as error:
            log.warning("unreadable record of a node's agent", node=name, key=key[:40], error=str(error))

    # what time does

    async def run(self) -> None:
        """Look at use and silence every few seconds, until cancelled."""
        while True:
            await wait_for(self._wake, self._clock, self._clock.monotonic() + LOOK_SECONDS)
            if self._wake.is_set():
                await self._clock.wait_until(self._clock.monotonic() + GATHER_SECONDS)
                self._wake.clear()
            self.look()

    def look(self) -> None:
        """Look at every node now."""
        pods: defaultdict[str, list[GpuPod]] = defaultdict(list)
        for pod in self._cluster.gpu_pods():
            pods[pod.node].append(pod)
        rows: defaultdict[str, list[NodeGpus]] = defaultdict(list)
        for row in self._cluster.gpus():
            rows[row.node].append(row)
        for name, known in tuple(self._nodes.items()):
            if not known.connected and name not in rows and self._is_silent(known):
                self._forget(name)
            elif known.said is not None:
                self._judge(name, known, pods[name], rows[name])

    def _look(self, name: str, known: Known) -> None:
        """Look at one node now."""
        if known.said is not None:
            pods = [pod for pod in self._cluster.gpu_pods() if pod.node == name]
            self._judge(name, known, pods, [row for row in self._cluster.gpus() if row.node == name])

    def _judge(self, name: str, known: Known, pods: Sequence[GpuPod], rows: Sequence[NodeGpus]) -> None:
        """Judge one node, and tell what is new."""
        said, before = known.said, known.node
        assert said is not None
        now = self._clock.monotonic()
        shared = any(row.gpu_class.sharing != "exclusive" for row in rows)
        values = self._values_of(known, said)
        after = judge_use(said, values, pods, self._names(), shared, known.remembered, now)
        after = replace(after, silent=not known.connected and self._is_silent(known))
        if before is not None and _same(before, after):
            return
        known.node = after
        waited = now - known.said_at
        aged = replace(
            after,
            devices=tuple(replace(each, health_for=each.health_for + waited) for each in after.devices),
        )
        self._put(f"{GPU}/{name}", node_to_wire(aged).SerializeToString(deterministic=True))
        for event in changes(name, before, after):
            log.info("gpu_event", reason=event.reason, subject=event.subject)
            self._event(event)
        self._marks.want(name, after)
        self._changed()

    def _values_of(self, known: Known, said: Node) -> dict[str, Values]:
        if known.layout != said.layout or len(known.values) != len(said.devices):
            return {}
        return {each.uuid: value for each, value in zip(said.devices, known.values, strict=True)}

    def _is_silent(self, known: Known) -> bool:
        return self._clock.monotonic() - known.away_since >= SILENT_SECONDS

    def _forget(self, name: str) -> None:
        """The node has left the cluster, and its agent with it."""
        log.info("node_forgotten", node=name)
        del self._nodes[name]
        self._marks.forget(name)
        for kind in (GPU, VALUES):
            self._delete(f"{kind}/{name}")
        for callback in self._on_forgotten:
            callback(name)
        self._changed()


def _same(one: Node, other: Node) -> bool:
    """Whether nothing but ages differs."""

    def ageless(node: Node) -> Node:
        return replace(node, devices=tuple(replace(each, health_for=0.0) for each in node.devices))

    return ageless(one) == ageless(other)
