"""The hub's own CA at run time: which keys there are, what signs, what the ports present, when to rotate.

`arbora.identity.rotation` decides; this module keeps the keys in the store and hands out snapshots. Server
certificates are signed by the *oldest* CA that is still trusted, so that clients and children that know
only the old one can verify the hub until it is retired; children's certificates by the active one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import ArboraError, InvalidInput, NotFound
from arbora.identity import authority as ca
from arbora.identity import issue, keys, rotation
from arbora.identity.bundle import Bundle
from arbora.identity.names import SpiffeId, check_trust_domain
from arbora.rpc.server import ServerTls
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.settings import HubSettings
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import AuthorityRow

log = structlog.get_logger(__name__)

SERVER_LEAF_LIFETIME = timedelta(days=30)
CHECK_SECONDS = 10.0
"""How often rotation and the server certificate are looked at."""


@dataclass(frozen=True)
class _Snapshot:
    """What the ports present; replaced as a whole, because grpc reads it from its own threads."""

    open_tls: ServerTls
    """Join and client port."""
    session_tls: ServerTls
    leaf: x509.Certificate


class HubAuthority:
    """The CAs of one hub."""

    def __init__(self, store: Store, settings: HubSettings, journal: Journal) -> None:
        self._store = store
        self._settings = settings
        self._journal = journal
        self._slots: rotation.Slots = ()
        self._authorities: dict[str, ca.Authority] = {}
        self._snapshot: _Snapshot | None = None
        self._on_change: list[Callable[[], None]] = []
        self._on_certificate: list[Callable[[], None]] = []
        self.trust_domain = ""
        self.hub_id = ""
        """Names the hub for good."""

    async def load(self) -> None:
        """Read the CAs from the store; at the first start, make the first one."""

        async def read(tx: ReadTx) -> tuple[list[AuthorityRow], bytes | None, bytes | None]:
            return (
                list(await tx.authority.list()),
                await tx.settings.get("trust_domain"),
                await tx.settings.get("hub_id"),
            )

        rows, trust_domain, hub_id = await self._store.read(read)
        if trust_domain is None or hub_id is None or not rows:
            await self._found()
            return
        self.trust_domain, self.hub_id = trust_domain.decode(), hub_id.decode()
        wanted = self._settings.trust_domain
        if wanted and wanted != self.trust_domain:
            raise InvalidInput(
                f"this hub's trust domain is {self.trust_domain} and can't become {wanted}",
                field="trust_domain",
                hint="Leave --trust-domain out, or start with an empty data directory.",
            )
        for row in rows:
            self._authorities[row.serial] = ca.load_authority(row.cert_pem, row.key_pem)
        self._slots = tuple(_slot(row) for row in rows)
        self._renew_server_leaf(_now())

    async def _found(self) -> None:
        now = _now()
        self.hub_id = secrets.token_hex(8)
        self.trust_domain = check_trust_domain(self._settings.trust_domain or f"hub-{self.hub_id[:8]}.arbora")
        first = ca.make_authority(self.trust_domain, now)
        leaf = first.certificate
        self._authorities = {first.serial: first}
        slots = rotation.begin(first.serial, leaf.not_valid_before_utc, leaf.not_valid_after_utc, now)

        async def write(tx: WriteTx) -> None:
            await tx.settings.put("trust_domain", self.trust_domain.encode())
            await tx.settings.put("hub_id", self.hub_id.encode())
            await tx.authority.replace_all([self._row(slot) for slot in slots])

        await self._store.write(write)
        self._slots = slots
        self._renew_server_leaf(now)
        log.info("hub founded", trust_domain=self.trust_domain, hub_id=self.hub_id)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the trust bundle changed."""
        self._on_change.append(callback)

    def on_certificate(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the ports' certificate changed, for whoever doesn't ask at each connection."""
        self._on_certificate.append(callback)

    # what others ask

    @property
    def slots(self) -> rotation.Slots:
        """The CAs and their phases."""
        return self._slots

    def pin_of(self, serial: str) -> str:
        """SHA-256 over a CA's public key, hex."""
        return self._authorities[serial].pin

    @property
    def pin(self) -> str:
        """What join tokens carry: the pin of the CA under which the ports present themselves."""
        return self._presenter(_now()).pin

    def bundle(self) -> Bundle:
        """Every CA that is trusted now."""
        return Bundle(
            tuple(self._authorities[serial].certificate for serial in rotation.trusted(self._slots, _now()))
        )

    def key_ids(self) -> frozenset[str]:
        """Key identifiers of every CA that is trusted now, as `rpc.peer.Peer.issuer`."""
        return frozenset(
            x509.SubjectKeyIdentifier.from_public_key(one.public_key()).digest.hex() for one in self.bundle()
        )

    def bundle_der(self) -> list[bytes]:
        """The same, as it crosses the wire."""
        return self.bundle().to_der()

    def issue_child(self, public_key: ec.EllipticCurvePublicKey, identity: SpiffeId) -> x509.Certificate:
        """A certificate for a child, signed by the active CA. Raises InvalidInput, Conflict."""
        now = _now()
        signer = self._authorities[rotation.signer(self._slots, now).serial]
        return issue.issue_child(
            signer, public_key, identity, now, timedelta(seconds=self._settings.certificate_lifetime)
        )

    def explain(self, leaf: x509.Certificate) -> issue.Explanation | None:
        """Why TLS refuses a child's certificate, if it does."""
        return issue.explain(leaf, self.bundle(), _now())

    def open_tls(self) -> ServerTls:
        """For the join and the client port. Called from grpc's threads; never raises."""
        assert self._snapshot is not None
        return self._snapshot.open_tls

    def session_tls(self) -> ServerTls:
        """For the session port. Called from grpc's threads; never raises."""
        assert self._snapshot is not None
        return self._snapshot.session_tls

    # rotation

    async def rotate(self, step: rotation.Step, *, forced: bool = False) -> None:
        """Take the rotation one step on, durably. Raises Conflict, StorageFailed."""
        now = _now()
        lifetime = timedelta(seconds=self._settings.certificate_lifetime)
        if step is rotation.Step.PREPARE:
            new = ca.make_authority(self.trust_domain, now)
            leaf = new.certificate
            slots = rotation.prepare(
                self._slots, new.serial, leaf.not_valid_before_utc, leaf.not_valid_after_utc, now
            )
            self._authorities[new.serial] = new
        elif step is rotation.Step.ACTIVATE:
            slots = rotation.activate(self._slots, now, lifetime, forced=forced)
        else:
            slots = rotation.retire(self._slots, now, lifetime, forced=forced)

        async def write(tx: WriteTx) -> None:
            await tx.authority.replace_all([self._row(slot) for slot in slots])

        await self._store.write(write)
        self._slots = slots
        kept = {slot.serial for slot in slots}
        self._authorities = {serial: one for serial, one in self._authorities.items() if serial in kept}
        self._renew_server_leaf(now)
        phases = ", ".join(f"{slot.serial[:8]} {slot.phase.value}" for slot in slots)
        self._journal.event(
            NORMAL, "AuthorityRotated", "hub/authority", f"CA rotation, {step.value}: now {phases}."
        )
        for callback in self._on_change:
            callback()

    async def run(self) -> None:
        """Rotate by itself and renew the server certificate, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = _now()
            assert self._snapshot is not None
            leaf = self._snapshot.leaf
            if now >= rotation.renew_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc, 0.5):
                self._renew_server_leaf(now)
            decision = rotation.next_step(
                self._slots, now, timedelta(seconds=self._settings.certificate_lifetime)
            )
            if decision.step is not None:
                log.info("CA rotation is due", step=decision.step.value, why=decision.sentence)
                try:
                    await self.rotate(decision.step)
                except ArboraError as error:
                    self._journal.event(
                        WARNING, "AuthorityRotationFailed", "hub/authority", f"{decision.step.value}: {error}"
                    )

    def _presenter(self, now: datetime) -> ca.Authority:
        """The oldest CA that is trusted; a prepared one is in no client's hands yet."""
        alive = rotation.living(self._slots, now)
        for phase in (rotation.Phase.RETIRING, rotation.Phase.ACTIVE):
            for slot in alive:
                if slot.phase is phase:
                    return self._authorities[slot.serial]
        raise NotFound("the hub has no valid CA", hint="Rotate: arbora hub rotate-ca prepare, then activate.")

    def _renew_server_leaf(self, now: datetime) -> None:
        presenter = self._presenter(now)
        key = keys.new_key()
        names = [
            name
            for name in (self._settings.advertise, *self._settings.extra_names, "localhost", "127.0.0.1")
            if name
        ]
        leaf = issue.issue_server(presenter, key.public_key(), names, now, SERVER_LEAF_LIFETIME)
        chain = leaf.public_bytes(Encoding.PEM) + presenter.certificate.public_bytes(Encoding.PEM)
        key_pem = keys.to_pem(key)
        self._snapshot = _Snapshot(
            open_tls=ServerTls(key_pem, chain),
            session_tls=ServerTls(key_pem, chain, self.bundle().to_pem()),
            leaf=leaf,
        )
        for callback in self._on_certificate:
            callback()

    def _row(self, slot: rotation.Slot) -> AuthorityRow:
        cert_pem, key_pem = ca.to_pem(self._authorities[slot.serial])
        return AuthorityRow(
            serial=slot.serial,
            phase=slot.phase.value,
            cert_pem=cert_pem,
            key_pem=key_pem,
            phase_since=slot.phase_since.timestamp(),
            not_before=slot.not_before.timestamp(),
            not_after=slot.not_after.timestamp(),
        )


def _slot(row: AuthorityRow) -> rotation.Slot:
    return rotation.Slot(
        serial=row.serial,
        phase=rotation.Phase(row.phase),
        not_before=datetime.fromtimestamp(row.not_before, UTC),
        not_after=datetime.fromtimestamp(row.not_after, UTC),
        phase_since=datetime.fromtimestamp(row.phase_since, UTC),
    )


def _now() -> datetime:
    return datetime.now(UTC)
