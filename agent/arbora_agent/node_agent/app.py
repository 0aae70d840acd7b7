"""The composition root of a node agent: reader -> collector -> uplink, until told to stop.

Kept small in memory, as it runs on every node with GPUs: no Kubernetes client, no certificates of its own, and
what serves metrics is loaded only if it is wanted.
"""

from __future__ import annotations

import asyncio
import gc
import random
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import structlog

from arbora.clock import LoopClock
from arbora.gpus.wire import node_to_wire, values_to_wire
from arbora_agent.gpu.port import GpuReader
from arbora_agent.node_agent.collector import Collector, ReadLog, Told
from arbora_agent.node_agent.kubelet import Kubelet
from arbora_agent.node_agent.settings import NodeSettings
from arbora_agent.node_agent.uplink import Uplink
from arbora_agent.node_agent.watch import NodeWatch

if TYPE_CHECKING:
    from arbora.metrics import MetricsServer

log = structlog.get_logger(__name__)


async def run(settings: NodeSettings, stop: asyncio.Event) -> None:
    """Run a node agent until `stop` is set. Raises NotFound, InvalidInput for a wrong recording, Conflict for an
    address that is taken."""
    reader, kernel_log = open_reader(settings)
    # What the start leaves stays, and a node agent makes no cycles to speak of.
    gc.freeze()
    await NodeAgent(settings, reader, kernel_log).run(stop)


def open_reader(settings: NodeSettings) -> tuple[GpuReader, ReadLog | None]:
    """The reader that the settings name, not opened yet, and how to read the kernel log, if at all."""
    if settings.replay:
        from arbora_agent.gpu.recorded import RecordedReader, named

        return RecordedReader(named(settings.replay), again=settings.replay_again), None
    from arbora_agent.gpu.kernel_log import read_xids
    from arbora_agent.gpu.nvml import NvmlReader

    return NvmlReader(), read_xids if settings.kernel_log else None


class NodeAgent:
    """One node agent."""

    def __init__(self, settings: NodeSettings, reader: GpuReader, kernel_log: ReadLog | None = None) -> None:
        self.watch = NodeWatch()
        chance = random.Random(secrets.randbits(64))
        self.uplink = Uplink(settings.cluster_agent, settings.token_file, settings.ca_file, chance)
        self.metrics: MetricsServer | None = None
        self.collector = Collector(
            reader,
            self.watch,
            self._told,
            LoopClock(),
            interval=settings.interval,
            kernel_log=kernel_log,
            looked=self._measured(settings),
        )
        self.kubelet: Kubelet | None = None
        if settings.pod_resources is not None:
            self.kubelet = Kubelet(settings.pod_resources, self.watch, self.collector.tell)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises Conflict if the address for metrics is taken."""
        async with self.metrics or nullcontext(), asyncio.TaskGroup() as tasks:
            running = [self.collector.run(), self.uplink.run(), *([self.kubelet.run()] if self.kubelet else [])]
            parts = [tasks.create_task(each) for each in running]
            await stop.wait()
            for part in parts:
                part.cancel()

    def _measured(self, settings: NodeSettings) -> Callable[[], None]:
        """Make what serves metrics, if that is wanted. Returns what has to hear that something was looked at."""
        if not settings.metrics_address:
            return lambda: None
        from arbora.metrics import MetricsServer
        from arbora_agent.node_agent.metrics import NodeMetrics

        # The loop's own clock, which other threads may not ask the loop for.
        metrics = NodeMetrics(
            self.watch,
            lambda: self.uplink.connected,
            time.monotonic,
            settings.node_name or socket.gethostname(),
        )
        self.metrics = MetricsServer(settings.metrics_address, metrics)
        return metrics.look

    def _told(self, told: Told) -> None:
        if told.node is not None:
            self.uplink.put("gpu", node_to_wire(told.node).SerializeToString(deterministic=True))
        if told.values is not None:
            layout, values = told.values
            self.uplink.put("gpu-values", values_to_wire(layout, values).SerializeToString(deterministic=True))
