"""All sessions of this hub: at most one per child, the newest epoch wins.

Every cleanup names its session, so an old connection's end never hurts a newer one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from google.protobuf.duration_pb2 import Duration

from arbora.errors import InvalidInput, Refused
from arbora.mirror import wire
from arbora.mirror.inbox import Applied
from arbora.mirror.records import Cursor, Lane
from arbora.rpc.guard import Context
from arbora.rpc.options import MAX_FRAME_BYTES
from arbora.rpc.peer import Peer
from arbora.session.frames import goodbye
from arbora.v1 import enrollment_pb2, session_pb2
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.sessions.admission import Admission, reconnect_window
from arbora_hub.sessions.hello import examine
from arbora_hub.sessions.session import Session
from arbora_hub.settings import HubSettings

log = structlog.get_logger(__name__)

Observer = Callable[[Child, str, bytes | None], None]
"""Called with a child, a record's key and its value, None if it was deleted. Must not block."""
CHECK_SECONDS = 1.0
"""How often certificates are looked at: a session outlives its certificate by that much."""


class Sessions:
    """Lets children in, routes what they report, ends sessions."""

    def __init__(
        self,
        settings: HubSettings,
        inventory: Inventory,
        authority: HubAuthority,
        journal: Journal,
        instance: str,
        ancestors: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """instance: random id of this hub's process. ancestors: ids of the hubs above this one, parent first."""
        self._settings = settings
        self._inventory = inventory
        self._authority = authority
        self._journal = journal
        self._instance = instance
        self._ancestors = ancestors
        self._sessions: dict[str, Session] = {}
        self._observers: dict[str, Observer] = {}
        self._unknown: set[tuple[str, str]] = set()
        self._admission = Admission(settings.admission_rate, 0.0)
        self._draining = False
        self._empty = asyncio.Event()
        """Set when the last session ends; only a drain looks at it."""

    def observe(self, kind: str, observer: Observer) -> None:
        """Route records `kind` and `kind/...` to `observer`."""
        self._observers[kind] = observer

    def connected(self, name: str) -> bool:
        """Whether the child has a session now."""
        return name in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    def put(self, child: Child, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record of the child's desired map; it goes down as soon as there is a session."""
        if child.exchange.put(key, value, volatile=volatile):
            self.wake(child.name)

    def delete(self, child: Child, key: str) -> None:
        """Delete a record of the child's desired map."""
        if child.exchange.delete(key):
            self.wake(child.name)

    def wake(self, name: str) -> None:
        """The exchange with `name` may have something to say."""
        session = self._sessions.get(name)
        if session is not None:
            session.wake()

    async def serve(self, hello: session_pb2.Hello, peer: Peer, context: Context) -> None:
        """One session from its Hello to its end. Raises Refused."""
        name = peer.spiffe_id.name
        accepted = examine(
            hello,
            peer.spiffe_id,
            peer.serial,
            self._inventory.row_of(name),
            self._authority.trust_domain,
            self._authority.hub_id,
            self._ancestors(),
        )
        cursors = _cursors(hello)
        child = self._inventory.find(name)
        assert child is not None
        self._refuse_if_full(name)
        epoch = await self._inventory.begin_session(child, hello.version, peer.serial, accepted.promote)
        if not self._inventory.active(child):
            raise Refused(enrollment_pb2.REFUSAL_BANNED, f"{name} was evicted from this hub")
        session = Session(
            child, peer, epoch, hello.instance_id, context, self._settings.heartbeat_interval, self._applied
        )
        self._replace(name, session)
        exchange = child.exchange
        exchange.cut()
        exchange.resume(cursors)
        welcome = self._welcome(child, epoch, accepted.protocol)
        del hello  # a thousand idle sessions would hold a thousand of them
        sentence = ""
        try:
            self._inventory.connected(child)
            running = session.run(welcome)
            del welcome
            sentence = await running
        finally:
            # grpc cancels the handler when the child closes the stream before we have read to its end.
            sentence = sentence or ("the child left" if session.said_goodbye else "the stream was lost")
            if self._sessions.get(name) is session:
                del self._sessions[name]
                if not self._sessions:
                    self._empty.set()
                exchange.cut()
                moved = session.moved and child.row.kind == "hub"
                self._inventory.disconnected(child, sentence, moved=moved)
            log.info("session ended", child=name, epoch=epoch, why=sentence)

    def _refuse_if_full(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._draining:
            raise Refused(enrollment_pb2.REFUSAL_BUSY, "the hub is going down", retry_after=2.0)
        # A child that moves to a renewed certificate is already inside.
        if name not in self._sessions:
            if len(self._sessions) >= self._settings.max_children:
                raise Refused(
                    enrollment_pb2.REFUSAL_BUSY,
                    f"the hub holds {len(self._sessions)} sessions, its limit",
                    retry_after=60.0,
                )
            if not self._admission.admit(name, now):
                raise Refused(
                    enrollment_pb2.REFUSAL_BUSY,
                    "too many children at once",
                    retry_after=self._admission.retry_after(name, now),
                )

    def _replace(self, name: str, session: Session) -> None:
        """Put `session` in its place and end the one before."""
        previous = self._sessions.get(name)
        self._sessions[name] = session
        if previous is None:
            log.info("session began", child=name, epoch=session.epoch, instance=session.instance_id)
            return
        if previous.instance_id == session.instance_id:
            previous.end(goodbye(enrollment_pb2.REFUSAL_NONE, "moved to a newer session"))
        else:
            previous.end(goodbye(enrollment_pb2.REFUSAL_EPOCH_STALE, "another process took this identity over"))
            self._journal.event(
                WARNING,
                "SessionTakenOver",
                f"member/{name}",
                f"Another process connected as {name} while a session was open; the newer one goes on.",
            )
        log.info("session replaced", child=name, epoch=session.epoch, before=previous.epoch)

    def _welcome(self, child: Child, epoch: int, protocol: int) -> session_pb2.Welcome:
        settings = self._settings
        return session_pb2.Welcome(
            path=str(self._inventory.path_of(child)),
            hub_instance=self._instance,
            hub_id=self._authority.hub_id,
            session_epoch=epoch,
            heartbeat_interval=_duration(settings.heartbeat_interval),
            lease_duration=_duration(settings.lease_duration),
            reconnect_window=_duration(reconnect_window(len(self._inventory), settings.admission_rate)),
            max_frame_bytes=MAX_FRAME_BYTES,
            protocol=protocol,
            cursors=[wire.cursor_to_wire(lane, cursor) for lane, cursor in child.exchange.cursors()],
            trust_bundle=self._authority.bundle_der(),
            ancestors=(self._authority.hub_id, *self._ancestors()),
        )

    def _applied(self, child: Child, applied: Applied) -> None:
        for key in (*applied.changed, *applied.removed):
            kind = key.partition("/")[0]
            observer = self._observers.get(kind)
            if observer is not None:
                observer(child, key, child.exchange.received_value(key))
            elif (child.name, kind) not in self._unknown and len(self._unknown) < 10_000:
                self._unknown.add((child.name, kind))
                self._journal.event(
                    WARNING,
                    "UnknownRecord",
                    f"member/{child.name}",
                    f"{child.name} sends records of the kind {kind[:40]!r}, which this hub does not know; they "
                    "are kept out. Upgrade the hub if the child is newer.",
                )

        # a whole snapshot is there: what it did not name the child has not
        if child.restored and child.exchange.inbox(Lane.BULK).cursor.epoch:
            self._inventory.told_all(child)

    def evict(self, name: str, reason: str) -> None:
        """End the child's session at once; the caller has denied its identity."""
        session = self._sessions.get(name)
        if session is not None:
            session.end(goodbye(enrollment_pb2.REFUSAL_BANNED, reason or f"{name} was evicted"))

    async def run(self) -> None:
        """End sessions whose certificate has run out, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.end_expired(time.time())

    def end_expired(self, now: float) -> None:
        """End sessions whose certificate has run out; now: seconds since the epoch."""
        for name, session in list(self._sessions.items()):
            if session.peer.not_after <= now:
                session.end(goodbye(enrollment_pb2.REFUSAL_MUST_REJOIN, "the certificate has expired"))
                self._journal.event(NORMAL, "CertificateExpired", f"member/{name}", "The session was ended.")

    def end_untrusted(self) -> None:
        """End sessions whose certificate comes from a CA that is no longer trusted."""
        trusted = self._authority.key_ids()
        for name, session in list(self._sessions.items()):
            if session.peer.issuer not in trusted:
                why = "the CA of the certificate was retired"
                session.end(goodbye(enrollment_pb2.REFUSAL_MUST_REJOIN, why))
                self._journal.event(WARNING, "CertificateUntrusted", f"member/{name}", "Its CA was retired.")

    async def drain(self, seconds: float) -> None:
        """Ask every child to leave and wait until they have, at most `seconds`."""
        self._draining = True
        if not self._sessions:
            return
        self._empty.clear()
        window = reconnect_window(len(self._sessions), self._settings.admission_rate)
        farewell = session_pb2.Down(drain=session_pb2.Drain(reconnect_after=_duration(min(1.0, window))))
        for session in list(self._sessions.values()):
            session.end(farewell)
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("children did not leave in time", sessions=len(self._sessions))


def _cursors(hello: session_pb2.Hello) -> list[tuple[Lane, Cursor]]:
    """How far the child has come. Raises Refused; must be asked before anything is changed."""
    try:
        return [wire.cursor_from_wire(cursor) for cursor in hello.cursors]
    except InvalidInput as error:
        raise Refused(enrollment_pb2.REFUSAL_PROTOCOL, f"protocol error: {error}") from error


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(int(seconds * 1000))
    return duration
