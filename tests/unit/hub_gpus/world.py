"""The part of a hub that knows GPUs, with children that a test lets speak. Time stands until it moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow
from arbora.capacity.wire import sketch_to_wire
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node, Values
from arbora.gpus.wire import node_to_wire, values_to_wire
from arbora_hub.gpus import rollup
from arbora_hub.gpus.members import MemberGpus, Shown
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness, Terms
from arbora_hub.journal import Journal
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.rows import ChildRow

NAME = "NVIDIA H100 80GB HBM3"
H100 = GpuClass("nvidia", "NVIDIA-H100-80GB-HBM3")
L4 = GpuClass("nvidia", "NVIDIA-L4")
GIB = 2**30


@dataclass(slots=True)
class Clock:
    """Loop time in seconds."""

    now: float

    def __call__(self) -> float:
        return self.now


class World:
    """What a hub has of its children's GPUs."""

    def __init__(self, store: Store, now: float, clock: Callable[[], float] | None = None) -> None:
        """now: loop time, so that what the inventory sets agrees with it. clock: one that moves by itself."""
        self.store = store
        self.clock = Clock(now)
        self.journal = Journal(store, 100)
        self.inventory = Inventory(store, self.journal, Terms(10.0, 40.0, 60.0))
        self.gpus = MemberGpus(self.inventory, self.journal, clock or self.clock)

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    async def child(self, name: str = "edge-7", kind: str = "agent", *classes: GpuClass) -> Child:
        """A child that is enrolled and connected. classes: those of its sketches."""
        row = ChildRow(name, kind, f"uid-{name}", session_epoch=1)

        async def write(tx: WriteTx) -> None:
            await tx.children.put(row)

        await self.store.write(write)
        await self.inventory.admit(row)
        child = self.inventory.find(name)
        assert child is not None
        self.inventory.connected(child)
        for each in classes:
            told = sketch_to_wire(each, SketchRow(members=1)).SerializeToString()
            self.inventory.observed(child, f"sketch/{each.key}", told)
        return child

    def tells(self, child: Child, told: Node, name: str = "n1") -> None:
        """A node's facts and health come in."""
        self.gpus.observed(child, f"gpu/{name}", node_to_wire(told).SerializeToString())

    def measures(self, child: Child, told: Node, *values: Values, name: str = "n1") -> None:
        """A node's values come in."""
        message = values_to_wire(told.layout, values).SerializeToString()
        self.gpus.observed(child, f"gpu-values/{name}", message)

    def adds_up(self, child: Child, *rows: tuple[GpuClass, Rollup]) -> None:
        """A child hub says what is below it."""
        self.gpus.observed(child, "gpu-rollup", rollup.to_wire(rows).SerializeToString())

    def cut(self, child: Child) -> None:
        """The link to a child is lost now."""
        child.heard = self.clock.now
        self.inventory.disconnected(child, "the test says so")
        assert child.liveness is Liveness.SUSPECT

    def back(self, child: Child) -> None:
        """It is there again."""
        self.inventory.connected(child)
        assert child.liveness is Liveness.ONLINE

    def devices(self, name: str = "edge-7") -> list[Shown]:
        """All of one child."""
        return list(self.gpus.devices(name))

    def values(self, name: str = "edge-7") -> dict[str, Values]:
        """As they are shown, by UUID."""
        return {one.device.uuid: one.values for one in self.devices(name)}


def device(uuid: str, index: int = 0, health: Health = Health.HEALTHY, health_for: float = 0.0) -> Device:
    """An H100."""
    return Device(uuid, index, NAME, memory_bytes=80 * GIB, health=health, health_for=health_for)


def node(*health: Health, prefix: str = "GPU") -> Node:
    """One device for each health, GPU-0 and so on."""
    return Node(devices=tuple(device(f"{prefix}-{index}", index, each) for index, each in enumerate(health)))
