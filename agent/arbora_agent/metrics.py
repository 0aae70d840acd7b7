"""What a cluster's agent shows to Prometheus: its link, the cluster's GPUs by class, workloads, node agents.

    the loop:   every few seconds -> `Figures` take the place of those before
    a scrape:   (on another thread) -> `families(figures ...)` -> text

Served from the first moment on, also while the cluster is not reached or the hub has not let it in: then there is
the link, which is down, and nothing else. No series is about a single GPU: node agents have those.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow, merge
from arbora.gpus.model import Node, Use
from arbora.workloads.model import State
from arbora_agent.observe import CapacityReport
from arbora_agent.workloads.reconciler import Reconciler

if TYPE_CHECKING:
    from arbora_agent.nodes.parts import NodeAgents

LOOK_SECONDS = 5.0
STATES = ("total", "used", "free", "unhealthy", "draining", "degraded", "pending")
"""Fields of a sketch's row."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A cluster at one moment. Never changed once it is made."""

    gpus: Mapping[GpuClass, SketchRow] = field(default_factory=dict)
    workloads: Mapping[State, int] = field(default_factory=dict)
    node_agents: int = 0
    """That have a session."""
    use: Mapping[Use, int] | None = None
    """Devices, as far as agents of nodes tell of them; None: there are no such agents."""


class AgentMetrics(Collector):
    """Counts on the loop, is collected on other threads."""

    def __init__(self, connected: Callable[[], bool]) -> None:
        """connected: whether there is a session with the hub; called on other threads."""
        self._connected = connected
        self._figures: Figures | None = None

    async def run(self, capacity: CapacityReport, reconciler: Reconciler, nodes: NodeAgents | None) -> None:
        """Count every few seconds, until cancelled."""
        while True:
            states = Counter(reconciler.states())
            if nodes is None:
                self._figures = Figures(capacity.rows, states)
            else:
                use = uses(nodes.devices.nodes().values())
                self._figures = Figures(capacity.rows, states, len(nodes.sessions), use)
            await asyncio.sleep(LOOK_SECONDS)

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, on its thread."""
        yield from families(self._figures, self._connected())


def uses(nodes: Iterable[Node]) -> Counter[Use]:
    """Devices by use. Where only numbers are known, as many of the unknown ones count as idle or leaked."""
    found: Counter[Use] = Counter()
    for node in nodes:
        here = Counter(each.use for each in node.devices)
        for use, count in ((Use.IDLE, node.idle), (Use.LEAKED, node.leaked)):
            moved = min(count, here[Use.UNKNOWN])
            here[use] += moved
            here[Use.UNKNOWN] -= moved
        found += here
    return found


def families(figures: Figures | None, connected: bool) -> Iterator[Metric]:
    """Everything; figures: None while nothing is counted yet."""
    yield GaugeMetricFamily(
        "arbora_agent_connected", "Whether there is a session with the hub.", float(connected)
    )
    if figures is None:
        return
    workloads = GaugeMetricFamily(
        "arbora_agent_workloads", "Workloads that are assigned here, by state.", labels=("state",)
    )
    for state in State:
        workloads.add_metric((state.name.lower(),), figures.workloads.get(state, 0))
    yield workloads
    if figures.gpus:
        yield _gpus(figures.gpus)
    if figures.use is None:
        return
    yield GaugeMetricFamily(
        "arbora_agent_node_agents", "Agents of nodes that have a session.", figures.node_agents
    )
    use = GaugeMetricFamily(
        "arbora_agent_gpu_use", "Devices by whether a pod holds them and uses them.", labels=("use",)
    )
    for each in Use:
        use.add_metric((each.name.lower(),), figures.use.get(each, 0))
    yield use


def _gpus(rows: Mapping[GpuClass, SketchRow]) -> Metric:
    family = GaugeMetricFamily(
        "arbora_agent_gpus",
        "GPUs as Kubernetes counts them, health taken into account.",
        labels=("class", "state"),
    )
    by_name: dict[str, list[SketchRow]] = {}
    for gpu_class, row in rows.items():
        by_name.setdefault(str(gpu_class), []).append(row)
    for name, those in by_name.items():
        total = merge(those)
        for state in STATES:
            family.add_metric((name, state), getattr(total, state))
    return family
