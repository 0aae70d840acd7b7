"""The dialing side of a session, for as long as the child lives: used by agents and by a hub's uplink.

    load the identity -> dial -> run -> (cut) -> wait -> dial ...
                                  \\-> renew at half life -> dial with the new certificate -> move over

The exchange outlives every connection, so a cut costs only what changed meanwhile. What ends the link for
good is raised as Refused with the step that an operator can take.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import structlog

from arbora.errors import ArboraError, Refused, StorageFailed, Unavailable
from arbora.identity import keys
from arbora.identity.names import Kind, Path
from arbora.mirror import wire
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.rpc.channel import session_channel
from arbora.session import enroll, frames
from arbora.session.backoff import Backoff
from arbora.session.connection import Connection, End
from arbora.session.credential import Credential, CredentialStore, utc_now
from arbora.session.state import HINTS, LinkState, Phase, Reaction, reaction_to
from arbora.v1 import enrollment_pb2, session_pb2
from arbora.version import PROTOCOL_VERSIONS, __version__

log = structlog.get_logger(__name__)

LEAVE_SECONDS = 1.0
"""How long a child that stops tries to say goodbye."""
EXPLAIN_AFTER = 3
"""Failed attempts in a row before the join port is asked why, and then every tenth."""


@dataclass(frozen=True)
class Introduction:
    """What a child says of itself in Hello."""

    kind: Kind
    instance_id: str
    """Random, new at each start of the process."""
    cluster_uid: str = ""
    hub_instances: Callable[[], tuple[str, ...]] = tuple
    """Of a hub: its id and those of all hubs below it, asked anew at each dialing."""
    capabilities: tuple[str, ...] = ()


@dataclass
class LinkEvents:
    """What the owner of a link hears, on the loop; nothing here may block."""

    applied: Callable[[Applied], None]
    """A batch of the desired map came in."""
    state: Callable[[LinkState], None] = field(default=lambda state: None)
    welcome: Callable[[session_pb2.Welcome], None] = field(default=lambda welcome: None)


class Link:
    """Keeps one session to one hub."""

    def __init__(
        self,
        credential: Credential,
        store: CredentialStore,
        exchange: Exchange,
        introduction: Introduction,
        events: LinkEvents,
        chance: random.Random,
    ) -> None:
        self._credential = credential
        self._store = store
        self._exchange = exchange
        self._introduction = introduction
        self._events = events
        self._chance = chance
        self._backoff = Backoff()
        self._connection: Connection | None = None
        self._window = 0.0
        self._failures = 0
        self._state = LinkState(Phase.CONNECTING, "not dialed yet")
        self.farewell = frames.STOPS
        """What the hub hears when `run` is cancelled."""

    @property
    def credential(self) -> Credential:
        """The identity in use."""
        return self._credential

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record of the observed map; it goes up as soon as there is a session."""
        if self._exchange.put(key, value, volatile=volatile):
            self.wake()

    def delete(self, key: str) -> None:
        """Delete a record of the observed map."""
        if self._exchange.delete(key):
            self.wake()

    def tunnel(self) -> Any:
        """A new stream of TunnelService.Tunnel to the hub. Raises Unavailable while there is no session."""
        if self._connection is None:
            raise Unavailable("there is no session with the hub")
        return self._connection.tunnel()

    def wake(self) -> None:
        """The exchange may have something to say."""
        if self._connection is not None:
            self._connection.wake()

    def cut(self) -> None:
        """Cut the present stream, as a broken network would; the link resumes by itself."""
        if self._connection is not None:
            self._connection.close()

    async def trust(self, bundle: tuple[bytes, ...]) -> None:
        """Take over the hub's trust bundle (DER), as told in the session; the next dialing uses it."""
        if bundle and bundle != self._credential.bundle:
            await self._keep(replace(self._credential, bundle=bundle), "trust bundle")

    async def settle(self, path: str) -> None:
        """Take over this child's path, which changes when a hub above moves. Raises InvalidInput."""
        path = str(Path.parse(path))
        if path == self._credential.path:
            return
        await self._keep(replace(self._credential, path=path), "path")
        if self._state.phase is Phase.ONLINE:
            self._say(LinkState(Phase.ONLINE, f"online as {path}", self._state.epoch, path))

    async def _keep(self, credential: Credential, what: str) -> None:
        self._credential = credential
        try:
            await self._store.save(credential)
        except StorageFailed as error:
            # It holds in memory, and every Welcome tells it again: no reason to end the link.
            log.warning("what the hub told is not kept", what=what, error=str(error))
        else:
            authorities = len(credential.bundle)
            log.info("taken over from the hub", what=what, path=credential.path, authorities=authorities)

    async def run(self) -> None:
        """Until cancelled. Raises Refused when only an operator can help."""
        while True:
            delay = await self._attempt()
            if delay > 0:
                self._tell(Phase.WAITING, f"next attempt in {delay:.1f} s")
                await asyncio.sleep(delay)

    async def _attempt(self) -> float:
        """One connection from dialing to its end; returns the seconds to stay away."""
        if self._credential.expired(utc_now()):
            raise Refused(
                enrollment_pb2.REFUSAL_MUST_REJOIN,
                f"the certificate of {self._credential.path} has expired while this child was away",
                hint=HINTS[enrollment_pb2.REFUSAL_MUST_REJOIN],
            )
        self._tell(Phase.CONNECTING, f"dialing {self._credential.session_address}")
        channel = _dial(self._credential)
        try:
            connection = Connection(channel, self._exchange, self._events.applied)
            try:
                await self._open(connection, None)
            except ArboraError as error:
                return await self._after_failure(error)
            end = await self._stay(channel, connection)
        finally:
            self._connection = None
            self._exchange.cut()
            await channel.close()
        return self._after_end(end)

    async def _open(self, connection: Connection, previous: asyncio.Task[End] | None) -> None:
        """Bring a connection up, then put it in the place of the one before."""
        hello = session_pb2.Hello(
            instance_id=self._introduction.instance_id,
            kind=enroll.KIND_TO_WIRE[self._introduction.kind],
            version=__version__,
            protocols=PROTOCOL_VERSIONS,
            capabilities=self._introduction.capabilities,
            cluster_uid=self._introduction.cluster_uid,
            hub_instances=self._introduction.hub_instances(),
            cursors=[wire.cursor_to_wire(lane, cursor) for lane, cursor in self._exchange.cursors()],
        )
        welcome = await connection.open(hello)
        if previous is not None:
            previous.cancel()
            await asyncio.gather(previous, return_exceptions=True)
            self._exchange.cut()
        self._exchange.resume([wire.cursor_from_wire(cursor) for cursor in welcome.cursors])
        self._connection = connection
        self._window = welcome.reconnect_window.ToTimedelta().total_seconds()
        self._backoff.succeeded()
        self._failures = 0
        await self.trust(tuple(welcome.trust_bundle))
        self._events.welcome(welcome)
        await self.settle(welcome.path)
        self._say(LinkState(Phase.ONLINE, f"online as {welcome.path}", welcome.session_epoch, welcome.path))

    async def _stay(self, channel: grpc.aio.Channel, connection: Connection) -> End:
        """Run `connection`, renewing the certificate and moving over when it is time, until it ends."""
        running = asyncio.create_task(connection.run(), name="connection")
        renewing = asyncio.create_task(self._renew_when_due(channel), name="renewal")
        channels: list[grpc.aio.Channel] = []
        try:
            while True:
                await asyncio.wait((running, renewing), return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    return running.result()
                renewing.result()
                channel = _dial(self._credential)
                channels.append(channel)
                following = Connection(channel, self._exchange, self._events.applied)
                try:
                    await self._open(following, running)
                except ArboraError as error:
                    following.close()
                    return End(f"moving to the renewed certificate failed: {error}")
                connection.close()
                connection = following
                running = asyncio.create_task(connection.run(), name="connection")
                renewing = asyncio.create_task(self._renew_when_due(channel), name="renewal")
        except asyncio.CancelledError:
            connection.leave(self.farewell)
            await asyncio.wait((running,), timeout=LEAVE_SECONDS)
            raise
        finally:
            connection.close()
            for task in (running, renewing):
                task.cancel()
            await asyncio.gather(running, renewing, return_exceptions=True)
            for extra in channels:
                await extra.close()

    async def _renew_when_due(self, channel: grpc.aio.Channel) -> None:
        """Returns once the new certificate is kept."""
        await asyncio.sleep(self._credential.renew_after(utc_now(), self._chance.random()).total_seconds())
        backoff = Backoff(base=5.0, cap=600.0)
        while True:
            try:
                new_key = keys.to_pem(keys.new_key())
                renewed = await enroll.renew(channel, self._credential, new_key)
                # The path may have changed while the answer was on its way.
                renewed = replace(renewed, path=self._credential.path)
                await self._store.save(renewed)
            except ArboraError as error:
                delay = backoff.next(self._chance.random())
                log.warning("renewal failed", error=str(error), retry_in=round(delay, 1))
                await asyncio.sleep(delay)
                continue
            self._credential = renewed
            log.info("certificate renewed", path=renewed.path)
            return

    async def _after_failure(self, error: ArboraError) -> float:
        """The attempt failed before Welcome: what now?"""
        if isinstance(error, Refused):
            reaction = reaction_to(error.refusal)
            if reaction is Reaction.STOP:
                raise error
            if reaction is Reaction.WAIT and error.retry_after is not None:
                self._tell(Phase.WAITING, str(error))
                return error.retry_after * (1.0 + 0.25 * self._chance.random())
        self._failures += 1
        log.info(
            "hub not reached", hub=self._credential.session_address, error=str(error), attempt=self._failures
        )
        if self._failures == EXPLAIN_AFTER or self._failures % 10 == 0:
            answer = await enroll.why_refused(self._credential)
            if answer is not None and reaction_to(answer.refusal) is Reaction.STOP:
                raise Refused(answer.refusal, answer.message, hint=HINTS.get(answer.refusal, "")) from error
        return self._backoff.next(self._chance.random())

    def _after_end(self, end: End) -> float:
        """A session ended: what now?"""
        log.info("session ended", hub=self._credential.session_address, why=end.sentence)
        if reaction_to(end.refusal) is Reaction.STOP:
            raise Refused(end.refusal, end.sentence, hint=HINTS.get(end.refusal, ""))
        if end.reconnect_after is not None:
            return end.reconnect_after + self._window * self._chance.random()
        return self._window * self._chance.random()

    def _tell(self, phase: Phase, sentence: str) -> None:
        self._say(LinkState(phase, sentence))

    def _say(self, state: LinkState) -> None:
        self._state = state
        self._events.state(state)


def _dial(credential: Credential) -> grpc.aio.Channel:
    return session_channel(
        credential.session_address, credential.bundle_pem(), credential.key_pem, credential.leaf_pem()
    )
