"""The port for node agents over a real socket: who gets in, for how long, and how much a frame may hold.

What happens inside a session is in tests/unit/nodes/test_sessions.py, without a socket.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from arbora.clock import LoopClock
from arbora.errors import InvalidInput
from arbora.files import write_atomic
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node
from arbora.gpus.wire import node_to_wire
from arbora.identity.authority import make_authority, to_pem
from arbora.identity.names import SERVER_NAME
from arbora.mirror.records import Lane
from arbora.rpc.channel import node_channel
from arbora.v1 import enrollment_pb2, session_pb2
from arbora.v1 import session_pb2_grpc as rpc
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.manifest.names import NODE_AGENT, NODE_AUDIENCE
from arbora_agent.nodes.authority import CERTIFICATE, KEY, LEAF_LIFETIME, AuthorityFiles, NodeAuthority
from arbora_agent.nodes.devices import NodeDevices
from arbora_agent.nodes.marks import NodeMarks
from arbora_agent.nodes.server import NodeServer
from arbora_agent.nodes.sessions import EARLY_SECONDS, NodeSessions
from tests.support.child import PlayedSession, hello, record
from tests.support.eventually import eventually
from tests.support.hub import running_agent, running_hub

ONE = "h100-0"


class Port:
    """The port of an agent of a simulated cluster."""

    def __init__(self, folder: Path) -> None:
        clock = LoopClock()
        self.simulation = Simulation("2x8xH100", clock=clock)
        cluster = SimulatedCluster(self.simulation)
        self.up: dict[str, bytes] = {}
        devices = NodeDevices(
            cluster,
            self.up.__setitem__,
            self.up.__delitem__,
            lambda event: None,
            lambda: None,
            dict,
            NodeMarks(cluster, frozenset(), lambda node, why: None, clock),
            clock,
        )
        self.ahead = 0.0
        """Seconds that sessions take it to be later than it is."""
        self.sessions = NodeSessions(devices, lambda: time.time() + self.ahead)
        self.now = datetime.now(UTC)
        self.authority = NodeAuthority(AuthorityFiles(folder), "nodes.arbora.internal", lambda: self.now)
        self.server = NodeServer("127.0.0.1:0", cluster, self.authority, self.sessions)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def token(self, audiences: Sequence[str] = (NODE_AUDIENCE,)) -> str:
        """It lasts for an hour."""
        mint = self.simulation.tokens.mint
        return mint("arbora-system", NODE_AGENT, "uid", audiences, 3600, ONE).reveal()

    @asynccontextmanager
    async def dialed(self, token: str | None = None, ca: bytes | None = None) -> AsyncIterator[PlayedNode]:
        """A stream of a node's agent, by default an honest one."""
        async with node_channel(self.address, ca or self.authority.certificate) as channel:
            session = PlayedNode(channel, self.token() if token is None else token)
            try:
                yield session
            finally:
                session.call.cancel()


class PlayedNode(PlayedSession):
    """A stream that shows a token."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.channel = channel
        shown = (("authorization", f"Bearer {token}"),) if token else None
        self.call = rpc.SessionServiceStub(channel).Connect(metadata=shown)

    async def introduce(self, name: str, **changes: Any) -> session_pb2.Down | None:
        return await super().introduce(name, **{"kind": enrollment_pb2.CHILD_KIND_NODE, **changes})


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Port]:
    port = Port(folder)
    task = asyncio.create_task(port.server.run())
    try:
        await eventually(lambda: port.server.port, "it listens")
        yield port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def code_of(session: PlayedNode) -> grpc.StatusCode:
    """How a stream ends that never was one."""
    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
        await session.send(hello(ONE, kind=enrollment_pb2.CHILD_KIND_NODE))
        assert await session.call.read() is not grpc.aio.EOF
        raise AssertionError("a frame came down")
    return await session.call.code()


def node_record(health: Health) -> bytes:
    return node_to_wire(Node(devices=(Device("GPU-0", 0, health=health),))).SerializeToString()


async def test_a_node_agent_with_a_token_is_welcome_and_heard(tmp_path: Path) -> None:
    async with listening(tmp_path) as port, port.dialed() as session:
        first = await session.introduce(ONE)
        assert first is not None
        assert first.welcome.path == ONE
        value = node_record(Health.DRAINING)
        await session.batch(record("gpu", len(value), value))
        await session.acked(Lane.CONTROL, len(value))
        assert list(port.up) == [f"gpu/{ONE}"]


@pytest.mark.parametrize(
    ("token", "audiences"),
    [("", ()), ("not.a.token", ()), (None, ("https://kubernetes.default.svc",))],
    ids=["no token", "rubbish", "a token for another purpose"],
)
async def test_nobody_else_gets_as_far_as_a_frame(
    tmp_path: Path, token: str | None, audiences: tuple[str, ...]
) -> None:
    async with listening(tmp_path) as port:
        shown = port.token(audiences) if token is None else token
        async with port.dialed(shown) as session:
            assert await code_of(session) is grpc.StatusCode.UNAUTHENTICATED
        assert len(port.sessions) == 0


async def test_a_node_agent_does_not_speak_to_another_ca(tmp_path: Path) -> None:
    other, _ = to_pem(make_authority("nodes.arbora.internal", datetime.now(UTC)))
    async with listening(tmp_path) as port, port.dialed(ca=other) as session:
        assert await code_of(session) is grpc.StatusCode.UNAVAILABLE


async def test_the_end_of_its_token_ends_the_session_in_time(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        async with port.dialed() as session:
            port.ahead = 3600.0 - EARLY_SECONDS
            assert await session.introduce(ONE) is not None
            assert (await session.refusal()).message == "the token has run out"
        port.ahead = 0.0
        async with port.dialed() as session:  # and with a fresh one it goes on
            first = await session.introduce(ONE)
            assert first is not None
            assert first.HasField("welcome")


async def test_a_frame_that_is_too_large_ends_its_stream_and_nothing_else(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        tls = grpc.ssl_channel_credentials(port.authority.certificate)
        unlimited = (("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.max_send_message_length", -1))
        async with (
            port.dialed() as honest,
            grpc.aio.secure_channel(port.address, tls, options=unlimited) as channel,
        ):
            session = PlayedNode(channel, port.token())
            await session.introduce(ONE)
            large = b"x" * (2 * 1024 * 1024)
            await session.batch(record("gpu", len(large), large))
            while await session.read() is not None:
                pass
            assert await session.call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await honest.introduce(ONE) is not None


async def test_a_second_session_of_a_node_takes_over(tmp_path: Path) -> None:
    async with listening(tmp_path) as port, port.dialed() as first, port.dialed() as second:
        await first.introduce(ONE)
        await second.introduce(ONE)
        assert (await first.refusal()).message == "a newer session of this node began"
        assert len(port.sessions) == 1


async def test_a_port_that_closes_says_goodbye(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        async with port.dialed() as session:
            await session.introduce(ONE)
            port.sessions.close()
            assert (await session.refusal()).message == "the cluster's agent stops"


async def test_who_dials_after_a_renewal_is_shown_the_new_certificate(tmp_path: Path) -> None:
    async with listening(tmp_path) as port:
        first = await presented(port)
        assert await presented(port) == first
        port.now += LEAF_LIFETIME / 2
        port.authority.renew()
        second = await presented(port)
        assert second.serial_number != first.serial_number
        assert second.issuer == first.issuer


async def presented(port: Port) -> x509.Certificate:
    """The server's certificate, as a stranger sees it."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    anyone.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port.server.port, ssl=anyone)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return x509.load_der_x509_certificate(shown)


async def test_a_damaged_ca_ends_the_agent_of_the_cluster_with_what_to_do(tmp_path: Path) -> None:
    damaged = tmp_path / "edge-7" / CERTIFICATE
    write_atomic(damaged, b"rubbish", 0o644)
    write_atomic(damaged.with_name(KEY), b"rubbish", 0o600)
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", node_address="127.0.0.1:0") as member,
    ):
        error = await member.ended()
    assert isinstance(error, InvalidInput)
    assert str(error).startswith("the CA of node agents is damaged")
    assert f"Delete {CERTIFICATE} and {KEY}" in error.hint
