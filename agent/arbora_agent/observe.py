"""What the agent reports of its cluster: the records `status` and `sketch/<class>`.

The cluster says that something changed; this gathers changes for a moment and sets the records anew. A
record whose bytes did not change does not travel, so nothing here has to remember what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow, sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.gpus.model import Node
from arbora.session.link import Link
from arbora.v1 import member_pb2
from arbora.version import __version__
from arbora_agent.cluster.port import Cluster, ClusterFacts
from arbora_agent.gpu.exclusion import with_health
from arbora_agent.properties import left_out_sentence


class CapacityReport:
    """Keeps `status` and `sketch/...` current."""

    def __init__(
        self,
        cluster: Cluster,
        link: Link,
        coalesce_seconds: float,
        devices: Callable[[], Mapping[str, Node]] = dict,
        tunnels: bool = False,
        warn: Callable[[str, str], None] = lambda reason, message: None,
    ) -> None:
        """devices: what the nodes' own agents say of their GPUs, by node. tunnels: the API server may be reached
        through the hub. warn: sends an event about the cluster, with a reason and a sentence."""
        self._tunnels = tunnels
        self._warn = warn
        self._left_out: tuple[str, ...] = ()
        self._cluster = cluster
        self._devices = devices
        self._link = link
        self._coalesce = coalesce_seconds
        self._changed = asyncio.Event()
        self._keys: frozenset[str] = frozenset()
        self.rows: Mapping[GpuClass, SketchRow] = {}
        """GPUs by class as last reported; replaced as a whole."""
        self._synced = False

    def changed(self) -> None:
        """Free GPUs or facts have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._until_synced())
            while True:
                self._changed.clear()
                self.report()
                await self._changed.wait()
                await asyncio.sleep(self._coalesce)

    async def _until_synced(self) -> None:
        """An API server that does not answer must not keep the hub from hearing that."""
        await self._cluster.synced()
        self._synced = True
        self.report()

    def report(self) -> None:
        """Set the records now."""
        facts = self._cluster.facts()
        if facts.properties_left_out != self._left_out:
            self._left_out = facts.properties_left_out
            if self._left_out:
                self._warn("PropertiesLeftOut", left_out_sentence(self._left_out))
        self._link.put("status", status_of(facts, self._tunnels).SerializeToString(deterministic=True))
        if not self._synced:
            # Half a cache is no answer: the hub goes on with what it last heard.
            return
        keys = set()
        nodes = with_health(self._cluster.gpus(), self._devices())
        self.rows = sketch(nodes, self._cluster.pending_gpus())
        for gpu_class, row in self.rows.items():
            key = f"sketch/{gpu_class.key}"
            keys.add(key)
            self._link.put(key, sketch_to_wire(gpu_class, row).SerializeToString(deterministic=True))
        for key in self._keys - keys:
            self._link.delete(key)
        self._keys = frozenset(keys)


def status_of(facts: ClusterFacts, tunnels: bool = False) -> member_pb2.ClusterStatus:
    """For the record `status`."""
    return member_pb2.ClusterStatus(
        kubernetes_version=facts.version,
        agent_version=__version__,
        cluster_uid=facts.uid,
        nodes=facts.nodes,
        nodes_ready=facts.nodes_ready,
        api_healthy=facts.api_healthy,
        message=facts.message[:500],
        simulated=facts.simulated,
        api_ca_pem=facts.api_ca_pem,
        reachable=tunnels and bool(facts.api_address),
        properties=[member_pb2.ClusterProperty(name=name, value=value) for name, value in facts.properties],
        properties_left_out=facts.properties_left_out,
        properties_pending=facts.properties_pending,
    )
