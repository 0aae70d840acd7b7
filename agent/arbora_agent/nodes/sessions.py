"""Sessions of node agents with their cluster's agent: one for each node, the newest wins.

The accepting end is the hub's (`arbora.session.accepted`). What a session may speak of is its own node, which its
token names. It ends when the token does; the node's agent comes back at once with a fresh one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import grpc
import structlog

from arbora.errors import InvalidInput, Refused
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.mirror.records import Cursor, Lane
from arbora.rpc.guard import Context, caller
from arbora.rpc.options import MAX_FRAME_BYTES
from arbora.session.accepted import Accepted
from arbora.session.frames import goodbye
from arbora.v1 import enrollment_pb2, session_pb2, session_pb2_grpc
from arbora.version import PROTOCOL_VERSIONS
from arbora_agent.nodes.devices import GPU, VALUES, NodeDevices

log = structlog.get_logger(__name__)

HELLO_SECONDS = 5.0
HEARTBEAT, LEASE = 10, 40
"""Seconds, as at a hub."""
MAX_NODES = 5_000
"""As Kubernetes itself supports."""
EARLY_SECONDS = 30.0
"""A session ends so long before its token does."""
MAX_TEXT = 256
"""Longest text of a Hello's field, in characters."""
MAX_RECORD_BYTES = 2 * 1024 * 1024
"""Of a node's record. With use and holders filled in it must still be one that a hub accepts."""
MAX_UNKNOWN = 100
"""Kinds of records that are said to be unknown."""


class NodeParty:
    """The agent of one node."""

    __slots__ = ("exchange", "heard", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.exchange = Exchange(secrets.randbits(62) + 1, max_value_bytes=MAX_RECORD_BYTES)
        self.heard: float | None = None


class NodeSessions(session_pb2_grpc.SessionServiceServicer):
    """Serves `Connect` on the port for node agents."""

    def __init__(self, devices: NodeDevices, wall: Callable[[], float] = time.time) -> None:
        """wall: seconds since the epoch, for the end of tokens."""
        self._devices = devices
        self._wall = wall
        self._instance = secrets.token_hex(8)
        self._parties: dict[str, NodeParty] = {}
        self._sessions: dict[str, Accepted[NodeParty]] = {}
        self._unknown: set[str] = set()
        self._epoch = 0
        devices.on_forgotten(self._forget)

    def __len__(self) -> int:
        return len(self._sessions)

    async def Connect(self, request_iterator: object, context: Context) -> None:  # type: ignore[override]
        """See session.proto. The guard has looked at the token."""
        who = caller.get()
        name = who.name.removeprefix("node/")
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await context.read()
            if first is grpc.aio.EOF or first.WhichOneof("frame") != "hello":
                raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, "the first frame must be Hello")
            await self._serve(name, first.hello, context, who.until)
        except TimeoutError:
            why = f"no Hello within {HELLO_SECONDS:g} s"
            await context.write(goodbye(enrollment_pb2.REFUSAL_PROTOCOL, why))
        except Refused as refused:
            log.info("node_refused", node=name, why=str(refused))
            await context.write(goodbye(refused.refusal, str(refused), refused.retry_after))

    def close(self) -> None:
        """End every session; node agents come back."""
        for session in tuple(self._sessions.values()):
            session.end(goodbye(enrollment_pb2.REFUSAL_NONE, "the cluster's agent stops", retry_after=1.0))

    async def _serve(self, name: str, hello: session_pb2.Hello, context: Context, until: float | None) -> None:
        protocol, cursors = _examine(hello)
        if name not in self._sessions and len(self._sessions) >= MAX_NODES:
            raise Refused(
                enrollment_pb2.REFUSAL_BUSY, f"{len(self._sessions)} nodes have a session", retry_after=60.0
            )
        party = self._parties.setdefault(name, NodeParty(name))
        self._epoch += 1
        session = Accepted(party, self._epoch, hello.instance_id, context, HEARTBEAT, self._applied)
        previous = self._sessions.get(name)
        self._sessions[name] = session
        if previous is not None:
            previous.end(goodbye(enrollment_pb2.REFUSAL_NONE, "a newer session of this node began"))
        party.exchange.cut()
        party.exchange.resume(cursors)
        log.info("node_connected", node=name, version=hello.version, instance=hello.instance_id)
        self._devices.connected(name)
        watching = asyncio.create_task(self._end_in_time(session, until), name="node-token")
        sentence = "the stream was lost"
        try:
            sentence = await session.run(self._welcome(party, session.epoch, protocol))
        finally:
            watching.cancel()
            if self._sessions.get(name) is session:
                del self._sessions[name]
                party.exchange.cut()
                self._devices.disconnected(name)
            log.info("node_disconnected", node=name, why=sentence)

    def _welcome(self, party: NodeParty, epoch: int, protocol: int) -> session_pb2.Welcome:
        welcome = session_pb2.Welcome(
            path=party.name,
            hub_instance=self._instance,
            session_epoch=epoch,
            max_frame_bytes=MAX_FRAME_BYTES,
            protocol=protocol,
            cursors=[wire.cursor_to_wire(lane, cursor) for lane, cursor in party.exchange.cursors()],
        )
        welcome.heartbeat_interval.FromSeconds(HEARTBEAT)
        welcome.lease_duration.FromSeconds(LEASE)
        return welcome

    def _applied(self, party: NodeParty, applied: Applied) -> None:
        for key in (*applied.changed, *applied.removed):
            if key in (GPU, VALUES):
                self._devices.observed(party.name, key, party.exchange.received_value(key))
                continue
            party.exchange.discard(key)
            kind = key.partition("/")[0]
            if kind not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
                self._unknown.add(kind)
                log.warning("node_record_unknown", node=party.name, kind=kind[:64])

    def _forget(self, name: str) -> None:
        """Whatever the node's agent has said must be said again, if it ever comes back."""
        self._parties.pop(name, None)

    async def _end_in_time(self, session: Accepted[NodeParty], until: float | None) -> None:
        """End the session before its token ends."""
        if until is None:
            return
        await asyncio.sleep(max(1.0, until - EARLY_SECONDS - self._wall()))
        session.end(goodbye(enrollment_pb2.REFUSAL_NONE, "the token has run out", retry_after=0.1))


def _examine(hello: session_pb2.Hello) -> tuple[int, list[tuple[Lane, Cursor]]]:
    """The protocol, and how far the node's agent has come. Raises Refused."""
    if hello.kind != enrollment_pb2.CHILD_KIND_NODE:
        raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, "only agents of nodes have a session here")
    protocols = set(PROTOCOL_VERSIONS) & set(hello.protocols)
    if not protocols:
        raise Refused(
            enrollment_pb2.REFUSAL_VERSION_UNSUPPORTED,
            f"this agent speaks the protocols {list(PROTOCOL_VERSIONS)}, not {list(hello.protocols[:10])}",
        )
    if max(len(hello.instance_id), len(hello.version)) > MAX_TEXT:
        raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, "Hello holds a text that is too long")
    try:
        return max(protocols), [wire.cursor_from_wire(cursor) for cursor in hello.cursors]
    except InvalidInput as error:
        raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, f"Hello is malformed: {error}") from error
