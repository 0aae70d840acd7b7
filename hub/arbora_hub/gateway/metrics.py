"""What a hub shows to Prometheus: children, sessions, workloads, and GPUs by direct child and class.

    the loop:   every few seconds, a few children at a time -> `Figures` take the place of those before
    a scrape:   (on another thread) -> `families(figures)` -> text

No series is about a single GPU, and none about a member below a child hub: node agents and those hubs have them.
A child that is lost counts as a child and has no GPUs here; of one that is not connected nothing measured counts.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arbora.capacity.sketch import SketchRow, merge
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Values
from arbora.workloads.model import State
from arbora_hub.gpus import rollup
from arbora_hub.gpus.classes import class_of
from arbora_hub.gpus.members import MemberGpus
from arbora_hub.gpus.minutes import classes_of
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.tree.subtree import read_sketch
from arbora_hub.workloads.record import WorkloadRecord

LOOK_SECONDS = 10.0
CHILDREN_AT_ONCE, GPUS_AT_ONCE, WORKLOADS_AT_ONCE = 50, 1000, 1000
"""What is counted before the loop may do something else."""
KINDS = ("agent", "hub")
STATES = ("total", "used", "free", "unhealthy", "draining", "degraded", "pending")
"""Fields of a sketch's row."""
NO_GPUS = "none"


@dataclass(slots=True)
class Measured:
    """Devices of one class of one child. Filled while it is counted, then left alone."""

    health: Counter[Health] = field(default_factory=Counter)
    utilization: float = 0.0
    """Sum of percents."""
    utilization_of: int = 0
    """Devices of which it is known; so for power."""
    power: float = 0.0
    """Watts."""
    power_of: int = 0

    def add(self, device: Device, values: Values | None) -> None:
        """values: None if it is not heard of."""
        self.health[device.health] += 1
        if values is None:
            return
        if values.utilization is not None:
            self.utilization += values.utilization
            self.utilization_of += 1
        if values.power is not None:
            self.power += values.power
            self.power_of += 1

    def add_below(self, row: rollup.Rollup) -> None:
        """What a child hub said of everything below it."""
        for health in Health:
            self.health[health] += getattr(row, health.name.lower())
        self.utilization += row.utilization_sum / 100
        self.utilization_of += row.utilization_known
        if row.power_milliwatts:
            self.power += row.power_milliwatts / 1000
            self.power_of += row.reporting


ByClass = tuple[str, str]
"""A child's name and a class."""


class Parent(Protocol):
    """What is needed of the uplink."""

    @property
    def attached(self) -> bool:
        """Whether there is a parent."""

    @property
    def connected(self) -> bool:
        """Whether there is a session with it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A hub at one moment. Never changed once it is made."""

    children: Mapping[tuple[str, Liveness], int] = field(default_factory=dict)
    """By kind and liveness."""
    sessions: int = 0
    workloads: Mapping[State, int] = field(default_factory=dict)
    uplink: bool | None = None
    """Whether it is connected; None: there is no parent."""
    sketches: Mapping[ByClass, SketchRow] = field(default_factory=dict)
    measured: Mapping[ByClass, Measured] = field(default_factory=dict)


class HubMetrics(Collector):
    """Counts on the loop, is collected on other threads."""

    def __init__(
        self,
        inventory: Inventory,
        sessions: Sized,
        workloads: Iterable[WorkloadRecord],
        gpus: MemberGpus,
        uplink: Parent,
    ) -> None:
        self._inventory = inventory
        self._sessions = sessions
        self._workloads = workloads
        self._gpus = gpus
        self._uplink = uplink
        self._figures = Figures()

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, on its thread."""
        yield from families(self._figures)

    async def run(self) -> None:
        """Count every few seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Count now."""
        children: Counter[tuple[str, Liveness]] = Counter()
        sketches: dict[ByClass, SketchRow] = {}
        measured: defaultdict[ByClass, Measured] = defaultdict(Measured)
        for number, child in enumerate(tuple(self._inventory)):
            children[child.row.kind, child.liveness] += 1
            if child.liveness is not Liveness.LOST:
                sketches |= _sketches_of(child)
                await self._measure(child, measured)
            if number % CHILDREN_AT_ONCE == CHILDREN_AT_ONCE - 1:
                await asyncio.sleep(0)
        states: Counter[State] = Counter()
        for number, record in enumerate(tuple(self._workloads)):
            states[record.state()] += 1
            if number % WORKLOADS_AT_ONCE == WORKLOADS_AT_ONCE - 1:
                await asyncio.sleep(0)
        self._figures = Figures(
            children,
            len(self._sessions),
            states,
            self._uplink.connected if self._uplink.attached else None,
            sketches,
            dict(measured),
        )

    async def _measure(self, child: Child, measured: defaultdict[ByClass, Measured]) -> None:
        """Add up what the devices of one child say."""
        member = self._gpus.member(child.name)
        if member is None:
            return
        if member.below is not None:
            if child.liveness is Liveness.ONLINE:
                for gpu_class, row in rollup.from_wire(member.below).items():
                    measured[child.name, str(gpu_class)].add_below(row)
            return
        classes = classes_of(child)
        names: dict[str, str] = {}
        """Class by product: finding it out for each device would take most of the time."""
        seen = 0
        for known in tuple(member.nodes.values()):
            heard = child.connected_at is not None and not known.node.silent
            for device in known.node.devices:
                name = names.get(device.product)
                if name is None:
                    name = names[device.product] = str(class_of(device, classes))
                gathered = known.gathered[device.uuid].values if heard else None
                measured[child.name, name].add(device, gathered)
            seen += len(known.node.devices)
            if seen >= GPUS_AT_ONCE:
                seen = 0
                await asyncio.sleep(0)


def families(figures: Figures) -> Iterator[Metric]:
    """Everything, without families that have no sample."""
    for family in _all(figures):
        if family.samples:
            yield family


def _all(figures: Figures) -> Iterator[Metric]:
    children = GaugeMetricFamily(
        "arbora_hub_children", "Direct children by kind and presence.", labels=("kind", "liveness")
    )
    for kind in KINDS:
        for liveness in Liveness:
            children.add_metric((kind, liveness.name.lower()), figures.children.get((kind, liveness), 0))
    yield children
    yield GaugeMetricFamily("arbora_hub_sessions", "Sessions of children.", figures.sessions)
    workloads = GaugeMetricFamily("arbora_hub_workloads", "Workloads by state.", labels=("state",))
    for state in State:
        workloads.add_metric((state.name.lower(),), figures.workloads.get(state, 0))
    yield workloads
    if figures.uplink is not None:
        yield GaugeMetricFamily(
            "arbora_hub_uplink_connected", "Whether there is a session with the parent.", float(figures.uplink)
        )
    gpus = GaugeMetricFamily(
        "arbora_hub_gpus",
        "GPUs as Kubernetes counts them, health taken into account.",
        labels=("member", "class", "state"),
    )
    for (member, gpu_class), row in figures.sketches.items():
        for name in STATES:
            gpus.add_metric((member, gpu_class, name), getattr(row, name))
    yield gpus
    yield from _measured(figures.measured)


def _measured(measured: Mapping[ByClass, Measured]) -> Iterator[Metric]:
    labels = ("member", "class")
    utilization = GaugeMetricFamily(
        "arbora_hub_gpu_utilization_ratio", "Mean over the devices that tell it.", labels=labels, unit="ratio"
    )
    power = GaugeMetricFamily(
        "arbora_hub_gpu_power_watts", "Sum over the devices that tell it.", labels=labels, unit="watts"
    )
    health = GaugeMetricFamily(
        "arbora_hub_gpu_health", "Devices by health, as their nodes' agents judge.", labels=(*labels, "health")
    )
    for key, one in measured.items():
        if one.utilization_of:
            utilization.add_metric(key, one.utilization / one.utilization_of / 100)
        if one.power_of:
            power.add_metric(key, one.power)
        for each in Health:
            health.add_metric((*key, each.name.lower()), one.health[each])
    yield from (utilization, power, health)


def _sketches_of(child: Child) -> dict[ByClass, SketchRow]:
    """By class as it is written, which is what makes a series one of its own."""
    rows: defaultdict[str, list[SketchRow]] = defaultdict(list)
    for message in child.sketches.values():
        for row in read_sketch(child.row.kind, message):
            if row.gpu_class.vendor != NO_GPUS:
                rows[str(row.gpu_class)].append(row.row)
    return {(child.name, name): merge(each) for name, each in rows.items()}
