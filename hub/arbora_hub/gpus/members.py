"""What the GPUs of this hub's members are now, from the records `gpu/<node>` and `gpu-values/<node>`.

    a record came in -> read and checked -> kept by member and node -> the device's minute goes on
    a member is away -> its devices are shown as they were, and their minutes stand still

Only in memory: a hub that restarts gets the records anew from its members. Values count only for the layout of
devices that they name, so that none is ever read as another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from arbora.errors import InvalidInput
from arbora.gpus.model import Device, Node, Values
from arbora.gpus.wire import node_from_wire, values_from_wire
from arbora.v1 import gpu_pb2
from arbora_hub.gpus import rollup
from arbora_hub.gpus.minute import Gathering
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.journal import WARNING, Journal

GPU, VALUES, ROLLUP = "gpu", "gpu-values", "gpu-rollup"
MAX_NODES = 5_000
"""Of one member."""
MAX_GPUS = 20_000
"""Of one member."""


@dataclass(slots=True)
class KnownNode:
    """One node of a member."""

    node: Node = field(default_factory=Node)
    gathered: dict[str, Gathering] = field(default_factory=dict)
    """By UUID, in the order of the devices."""
    layout: int = 0
    values: tuple[Values, ...] = ()
    """As they last came; for devices of another layout until that has come, too."""
    values_at: float | None = None
    """Loop time."""
    health_at: dict[str, float] = field(default_factory=dict)
    """Loop time since when each device has its present health."""


@dataclass(slots=True)
class Member:
    """One member with its nodes by name."""

    nodes: dict[str, KnownNode] = field(default_factory=dict)
    below: gpu_pb2.GpuRollups | None = None
    """Of a child hub: what it last said of everything below it."""
    away: bool = False
    """Not present: the minutes of its devices stand still."""

    @property
    def count(self) -> int:
        """Devices."""
        return sum(len(each.gathered) for each in self.nodes.values())


@dataclass(frozen=True, slots=True)
class Shown:
    """One device with everything that is known of it."""

    child: Child
    node_name: str
    node: Node
    device: Device
    values: Values
    values_at: float | None
    health_at: float


class MemberGpus:
    """All members' GPUs, by the child's name."""

    def __init__(self, inventory: Inventory, journal: Journal, clock: Callable[[], float]) -> None:
        """clock: loop time."""
        self._inventory = inventory
        self._journal = journal
        self._clock = clock
        self._members: dict[str, Member] = {}
        inventory.on_change(self._child_changed)

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record of one of the three kinds came in, or went away (None)."""
        if not self._inventory.active(child):
            return  # a session that is being ended may still bring some
        kind, _, name = key.partition("/")
        member = self._members.setdefault(child.name, Member())
        try:
            if kind == ROLLUP:
                self._take_rollup(child, member, value)
            elif child.row.kind != "agent":
                raise InvalidInput("only an agent reports single GPUs")
            elif value is None:
                self._drop(member, kind, name)
            elif kind == GPU:
                self._take_node(member, name, value)
            else:
                self._take_values(member, name, value)
        except (DecodeError, InvalidInput) as error:
            why = f" ({error})" if isinstance(error, InvalidInput) else ""
            self._journal.event(
                WARNING,
                "InvalidRecord",
                f"member/{child.name}",
                f"The record {key[:80]!r} can't be read{why}; it is left out.",
            )

    def member(self, name: str) -> Member | None:
        """The GPUs of one child; None: it never spoke of any."""
        return self._members.get(name)

    def devices(self, name: str) -> Iterator[Shown]:
        """Every device of one child, by node and index."""
        child, member = self._inventory.find(name), self._members.get(name)
        if child is None or member is None:
            return
        for node_name in sorted(member.nodes):
            known = member.nodes[node_name]
            for device in known.node.devices:
                yield Shown(
                    child,
                    node_name,
                    known.node,
                    device,
                    known.gathered[device.uuid].values,
                    known.values_at,
                    known.health_at[device.uuid],
                )

    def forget(self, name: str) -> None:
        """A child is gone."""
        self._members.pop(name, None)

    def _child_changed(self, child: Child) -> None:
        if not self._inventory.active(child):
            self.forget(child.name)
            return
        member, away = self._members.get(child.name), child.liveness is not Liveness.ONLINE
        if member is None or member.away is away:
            return
        member.away = away
        now = self._clock()
        for known in member.nodes.values():
            for each in known.gathered.values():
                if away:
                    each.pause(now if child.heard is None else child.heard)
                else:
                    each.resume(now)

    def _take_rollup(self, child: Child, member: Member, value: bytes | None) -> None:
        if child.row.kind != "hub":
            raise InvalidInput("only a hub adds GPUs up")
        message = gpu_pb2.GpuRollups.FromString(value) if value is not None else None
        if message is not None:
            rollup.from_wire(message)
        member.below = message

    def _drop(self, member: Member, kind: str, name: str) -> None:
        known = member.nodes.get(name)
        if known is not None and (kind == GPU or not known.gathered):
            del member.nodes[name]

    def _take_node(self, member: Member, name: str, value: bytes) -> None:
        node = node_from_wire(gpu_pb2.NodeGpus.FromString(value))
        known = member.nodes.get(name)
        if known is None:
            if len(member.nodes) >= MAX_NODES:
                raise InvalidInput(f"more than {MAX_NODES} nodes with GPUs")
            known = member.nodes[name] = KnownNode()
        if member.count - len(known.gathered) + len(node.devices) > MAX_GPUS:
            raise InvalidInput(f"more than {MAX_GPUS} GPUs")
        now = self._clock()
        before = {each.uuid: each.health for each in known.node.devices}
        gathered, health_at = {}, {}
        for device in node.devices:
            uuid = device.uuid
            gathering = gathered[uuid] = known.gathered.get(uuid) or Gathering(now)
            gathering.judged(device.health)
            same = before.get(uuid) is device.health
            health_at[uuid] = known.health_at[uuid] if same else now - device.health_for
        known.node, known.gathered, known.health_at = node, gathered, health_at
        self._apply(known, now)
        if node.silent or node.trouble:
            for each in known.gathered.values():
                each.silence(now)

    def _take_values(self, member: Member, name: str, value: bytes) -> None:
        known = member.nodes.get(name)
        if known is None:
            if len(member.nodes) >= MAX_NODES:
                raise InvalidInput(f"more than {MAX_NODES} nodes with GPUs")
            known = member.nodes[name] = KnownNode()
        known.layout, known.values = values_from_wire(gpu_pb2.NodeGpuValues.FromString(value))
        known.values_at = self._clock()
        self._apply(known, known.values_at)

    def _apply(self, known: KnownNode, now: float) -> None:
        """Give the devices their values, if these are of the same layout and the devices are read."""
        if known.node.silent or known.node.trouble:
            return
        if known.layout != known.node.layout or len(known.values) != len(known.gathered):
            return
        for gathering, values in zip(known.gathered.values(), known.values, strict=True):
            if gathering.values != values:
                gathering.take(values, now)
