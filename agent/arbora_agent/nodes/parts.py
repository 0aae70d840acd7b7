"""Builds what a cluster's agent needs for the agents of its nodes, and wires it. For `app.py`, if it is wanted.

sessions -> devices -> records for the hub, events, marks on nodes, and what is free counted anew
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import structlog

from arbora.clock import Clock
from arbora.files import write_atomic
from arbora.session.link import Link
from arbora_agent.cluster.port import Cluster
from arbora_agent.manifest.names import NODE_AGENT, NODE_AUDIENCE
from arbora_agent.nodes.authority import PUBLISHED, AuthorityFiles, AuthorityStore, NodeAuthority
from arbora_agent.nodes.devices import NodeDevices
from arbora_agent.nodes.marks import NodeMarks, parse_marks
from arbora_agent.nodes.server import NodeServer
from arbora_agent.nodes.sessions import NodeSessions
from arbora_agent.nodes.told import Event
from arbora_agent.settings import AgentSettings
from arbora_agent.workloads.reconciler import Reconciler

log = structlog.get_logger(__name__)

TRUST_DOMAIN = "nodes.arbora.internal"
SIMULATED = "node-agents"
"""Below the data directory of a simulated cluster: what the kubelet would mount for each node's agent."""
SIMULATED_TOKEN_SECONDS = 30 * 86_400


@runtime_checkable
class KeepsNodeAuthority(Protocol):
    """A place for the agent's identity that has one for the CA of its node agents as well."""

    def node_authority(self) -> AuthorityStore:
        """That place."""
        ...


class NodeAgents:
    """Everything about the agents of nodes."""

    def __init__(
        self,
        settings: AgentSettings,
        cluster: Cluster,
        store: object,
        link: Link,
        reconciler: Reconciler,
        event: Callable[[Event], None],
        clock: Clock,
    ) -> None:
        """store: where the agent's identity is kept."""
        self._settings = settings
        self._cluster = cluster
        self._changed: Callable[[], None] = lambda: None
        self.marks = NodeMarks(
            cluster,
            parse_marks(settings.mark_nodes),
            lambda node, why: event(Event("warning", "NodeNotMarked", f"gpu/{node}", why)),
            clock,
        )
        self.devices = NodeDevices(
            cluster,
            put=link.put,
            delete=link.delete,
            event=event,
            changed=lambda: self._changed(),
            names=reconciler.names,
            marks=self.marks,
            clock=clock,
        )
        kept = store.node_authority() if isinstance(store, KeepsNodeAuthority) else None
        self._authority = NodeAuthority(kept or AuthorityFiles(settings.data_dir), TRUST_DOMAIN)
        self.sessions = NodeSessions(self.devices)
        self.server = NodeServer(settings.node_address, cluster, self._authority, self.sessions, self._equip)

    def start(self, changed: Callable[[], None]) -> None:
        """changed: counts anew what is free."""
        self._changed = changed
        self._cluster.subscribe(on_capacity=self.devices.pods_changed, on_object=lambda ref, uid: None)

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What runs by itself."""
        return self.server.run(), self.devices.run(), self.marks.run()

    def _equip(self) -> None:
        """For a simulated cluster: write what a kubelet would mount, for node agents that are started by hand."""
        if not self._cluster.facts().simulated:
            return
        from arbora_agent.cluster.simulated import SimulatedCluster

        assert isinstance(self._cluster, SimulatedCluster)
        simulation = self._cluster.simulation
        folder = self._settings.data_dir / SIMULATED
        certificate = self._authority.certificate
        for node in simulation.nodes:
            token = simulation.tokens.mint(
                self._cluster.namespace,
                NODE_AGENT,
                f"uid-of-{NODE_AGENT}",
                [NODE_AUDIENCE],
                SIMULATED_TOKEN_SECONDS,
                node.name,
            )
            _write(folder / node.name, certificate, token.reveal())
        log.info("node_agents_equipped", folder=str(folder), nodes=len(simulation.nodes))


def _write(folder: Path, certificate: bytes, token: str) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(folder / PUBLISHED, certificate, 0o644)
    write_atomic(folder / "token", token.encode(), 0o600)
