"""The session with the cluster's agent: the same mirror of two maps as on every other link.

    read token and CA -> dial -> Hello, Welcome -> (cut, or the token has run out) -> a short wait -> dial ...

The kubelet renews the token in its file, so it is read anew for each session. Nothing comes down but Welcome.
What is put while there is no session goes up with the next one; only the newest value of a record ever waits.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from pathlib import Path

import structlog

from arbora.errors import ArboraError, InvalidInput, Unavailable
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange
from arbora.rpc.channel import node_channel
from arbora.secret import Secret
from arbora.session.backoff import Backoff
from arbora.session.connection import Connection, End
from arbora.v1 import enrollment_pb2, session_pb2
from arbora.version import PROTOCOL_VERSIONS, __version__

log = structlog.get_logger(__name__)

LONGEST_WAIT = 5.0
"""Seconds between two attempts; the peer is in the same cluster, and few nodes ask it."""
MAX_FILE = 64 * 1024


class Uplink:
    """Keeps one session to the agent of the cluster."""

    def __init__(self, address: str, token_file: Path, ca_file: Path, chance: random.Random) -> None:
        """address: host:port."""
        self._address = address
        self._token_file = token_file
        self._ca_file = ca_file
        self._chance = chance
        self._exchange = Exchange(secrets.randbits(62) + 1)
        self._connection: Connection | None = None
        self._instance = secrets.token_hex(8)
        self._complaint = ""

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        return self._connection is not None

    @property
    def trouble(self) -> str:
        """Why there is no session, as far as is known; empty while all is well."""
        return self._complaint

    def put(self, key: str, value: bytes) -> None:
        """Set a record; it goes up as soon as there is a session."""
        if self._exchange.put(key, value) and self._connection is not None:
            self._connection.wake()

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(cap=LONGEST_WAIT)
        while True:
            try:
                end = await self._session(backoff)
            except ArboraError as error:
                delay = error.retry_after or backoff.next(self._chance.random())
                self._complain(error, delay)
            else:
                delay = end.reconnect_after or backoff.next(self._chance.random())
                log.info("session_ended", why=end.sentence, retry_in=round(delay, 1))
            await asyncio.sleep(delay)

    async def _session(self, backoff: Backoff) -> End:
        token, ca = await asyncio.to_thread(_read_both, self._token_file, self._ca_file)
        channel = node_channel(self._address, ca)
        try:
            connection = Connection(channel, self._exchange, lambda applied: None, Secret(token))
            hello = session_pb2.Hello(
                instance_id=self._instance,
                kind=enrollment_pb2.CHILD_KIND_NODE,
                version=__version__,
                protocols=PROTOCOL_VERSIONS,
                cursors=[wire.cursor_to_wire(lane, cursor) for lane, cursor in self._exchange.cursors()],
            )
            welcome = await connection.open(hello)
            self._exchange.resume([wire.cursor_from_wire(cursor) for cursor in welcome.cursors])
            self._connection = connection
            backoff.succeeded()
            self._complaint = ""
            log.info("connected", node=welcome.path, to=self._address)
            return await connection.run()
        finally:
            self._connection = None
            self._exchange.cut()
            await channel.close()

    def _complain(self, error: ArboraError, delay: float) -> None:
        """Say what is wrong, once for as long as it stays the same."""
        say = log.debug if str(error) == self._complaint else log.warning
        self._complaint = str(error)
        hint = error.hint
        if isinstance(error, Unavailable):
            hint = hint or "Does the cluster's agent run, with --node-address, and may this pod reach it?"
        retry_in = round(delay, 1)
        say("cluster_agent_not_reached", address=self._address, why=str(error), hint=hint, retry_in=retry_in)


def _read_both(token_file: Path, ca_file: Path) -> tuple[str, bytes]:
    return _read(token_file).decode("ascii", "replace").strip(), _read(ca_file)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE)
    except OSError as error:
        raise InvalidInput(
            f"{path} can't be read: {error.strerror}",
            hint="The cluster's agent writes the certificate when it starts; the kubelet mounts both.",
        ) from error
    if not data.strip():
        raise InvalidInput(f"{path} is empty", hint="It is filled once the cluster's agent has started.")
    return data
