"""Taints and conditions on nodes whose GPUs are not well, as far as the member's own allow-list goes.

A mark is wanted -> it is shown, tried again while the API server is away -> refused: said once, left alone until
another one is wanted. Nothing is shown unless the member's operator allowed it (`--mark-nodes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from arbora.clock import Clock
from arbora.errors import InvalidInput
from arbora.gpus.health import Health
from arbora.gpus.model import Node
from arbora_agent.cluster.port import Cluster, ClusterUnavailable, NodeMark, ObjectRejected
from arbora_agent.workloads.calls import within_deadline

log = structlog.get_logger(__name__)

TAINT, CONDITION = "taint", "condition"
RETRY_SECONDS = 5.0


def parse_marks(entries: Collection[str]) -> frozenset[str]:
    """What may be shown. Raises InvalidInput."""
    for each in entries:
        if each not in (TAINT, CONDITION):
            raise InvalidInput(f"{each!r} is neither {TAINT} nor {CONDITION}", field="--mark-nodes")
    return frozenset(entries)


def mark_of(node: Node, allowed: frozenset[str]) -> NodeMark:
    """What is to be seen of a node: marked while a GPU is Unhealthy or Draining. Pure."""
    bad = [each for each in node.devices if each.health in (Health.UNHEALTHY, Health.DRAINING)]
    message = "; ".join(f"GPU {each.index} ({each.uuid}) is {each.health.word}: {each.reason}" for each in bad)
    return NodeMark(
        taint=bool(bad) if TAINT in allowed else None,
        condition=bool(bad) if CONDITION in allowed else None,
        reason="GpuUnhealthy" if bad else "GpusHealthy",
        message=message or "no GPU is Unhealthy or Draining",
    )


class NodeMarks:
    """Shows what is wanted, one node after the other."""

    def __init__(
        self,
        cluster: Cluster,
        allowed: frozenset[str],
        refused: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        """refused: hears of a node and why its mark can't be shown."""
        self._cluster = cluster
        self.allowed = allowed
        self._refused = refused
        self._clock = clock
        self._shown: dict[str, NodeMark] = {}
        self._wanted: dict[str, NodeMark] = {}
        self._wake = asyncio.Event()

    def want(self, name: str, node: Node) -> None:
        """The node is so now."""
        if not self.allowed:
            return
        mark = mark_of(node, self.allowed)
        if mark != self._shown.get(name) or name in self._wanted:
            self._wanted[name] = mark
            self._wake.set()

    def forget(self, name: str) -> None:
        """The node is gone."""
        self._shown.pop(name, None)
        self._wanted.pop(name, None)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                name, mark = next(iter(self._wanted.items()))
                try:
                    await within_deadline(self._cluster.mark_node(name, mark))
                except ClusterUnavailable as error:
                    log.info("node_not_marked", node=name, why=str(error), retry_in=RETRY_SECONDS)
                    await self._clock.wait_until(self._clock.monotonic() + RETRY_SECONDS)
                    continue
                except ObjectRejected as error:
                    self._refused(name, f"{error}. {error.hint}" if error.hint else str(error))
                if self._wanted.get(name) == mark:
                    del self._wanted[name]
                self._shown[name] = mark
