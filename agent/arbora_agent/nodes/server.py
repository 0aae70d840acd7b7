"""The port of a cluster's agent for the agents of its nodes: CA -> TLS -> guard -> sessions.

Opened only where it is asked for (`--node-address`). It is reached from inside the cluster; nothing from outside
has business here, and whoever dials has to show a token that this cluster's API server vouches for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from arbora.errors import StorageFailed
from arbora.rpc import options, server
from arbora.rpc.policy import NODE_POLICY
from arbora.session.backoff import Backoff
from arbora.v1 import session_pb2_grpc
from arbora_agent.cluster.port import Cluster
from arbora_agent.nodes.authority import NodeAuthority
from arbora_agent.nodes.gate import NodeGate
from arbora_agent.nodes.sessions import NodeSessions

log = structlog.get_logger(__name__)

STOP_SECONDS = 0.5
RENEW_SECONDS = 3600.0
"""How often the server certificate's age is looked at."""


class NodeServer:
    """Serves node agents until cancelled."""

    def __init__(
        self,
        address: str,
        cluster: Cluster,
        authority: NodeAuthority,
        sessions: NodeSessions,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        """address: host:port to listen on; port 0 picks one. opened: hears when it listens."""
        self._address = address
        self._cluster = cluster
        self._authority = authority
        self._sessions = sessions
        self._opened = opened
        self.port = 0
        """The port that it listens on; 0: not yet."""

    async def run(self) -> None:
        """Until cancelled. Raises Conflict if the address is taken."""
        await self._load()
        one = server.build(options.SESSION_SERVER, NodeGate(self._cluster), NODE_POLICY)
        self.port = server.listen(one, self._address, self._authority.current)
        session_pb2_grpc.add_SessionServiceServicer_to_server(self._sessions, one)
        await one.start()
        log.info("node_port_open", address=self._address, port=self.port)
        self._opened()
        try:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                self._authority.renew()
        finally:
            self._sessions.close()
            await one.stop(STOP_SECONDS)

    async def _load(self) -> None:
        """The CA; as long as it takes while the API server is away."""
        backoff = Backoff()
        while True:
            try:
                await self._authority.load()
                return
            except StorageFailed as error:
                delay = backoff.next(0.5) + 0.5
                log.warning("node_ca_unavailable", why=str(error), hint=error.hint, retry_in=round(delay, 1))
                await asyncio.sleep(delay)
