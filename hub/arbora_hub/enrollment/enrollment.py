"""Join tokens and certificates: letting a child in, and renewing what it proves itself with.

The token's redemption, the child's row and its serial are one transaction, so a hub that dies in the middle
has either let the child in or not. The identity always comes from the token or from the TLS peer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import Conflict, Exhausted, InvalidInput, NotFound, Unauthenticated
from arbora.identity import csr, join_token
from arbora.identity.keys import key_hash
from arbora.identity.names import Kind, SpiffeId
from arbora.rpc.peer import Peer
from arbora_hub.enrollment.attempts import Attempts
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import ChildRow, JoinTokenRow

log = structlog.get_logger(__name__)

MAX_TEXT = 128
"""Longest cluster UID or version that a child may send."""
_WHAT = {Kind.AGENT: "cluster", Kind.HUB: "hub"}


@dataclass(frozen=True)
class Issued:
    """What a child gets."""

    name: str
    leaf: bytes
    lifetime: float
    """Seconds until the certificate ends."""


class Enrollment:
    """Lets children in."""

    def __init__(
        self,
        store: Store,
        authority: HubAuthority,
        inventory: Inventory,
        ancestors: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """ancestors: ids of the hubs above this one."""
        self._store = store
        self._authority = authority
        self._inventory = inventory
        self._ancestors = ancestors
        self._attempts = Attempts()

    async def enroll(
        self, token_text: str, csr_der: bytes, kind: Kind, name: str, cluster_uid: str, version: str, source: str
    ) -> Issued:
        """Trade a token for a certificate; repeating it with the same key is safe.

        source: the peer's address, for the rate limit. Raises InvalidInput, PermissionDenied, Conflict,
        Exhausted, StorageFailed.
        """
        now = datetime.now(UTC)
        token = join_token.parse(token_text)
        if not self._attempts.allow(source, token.id, now.timestamp()):
            raise Exhausted(
                "too many failed attempts to join",
                hint="Wait a minute, and check the join token.",
                retry_after=60.0,
            )
        public_key = csr.verify(csr_der)
        for field, text in (("cluster_uid", cluster_uid), ("version", version)):
            if len(text) > MAX_TEXT or not text.isprintable():
                raise InvalidInput("is too long or not printable", field=field)
        if kind is Kind.HUB and cluster_uid in (self._authority.hub_id, *self._ancestors()):
            raise Conflict(
                "this hub is below the one that wants to join: the link would close a circle",
                hint="Choose another parent.",
            )
        hashed = key_hash(public_key)
        leaf_box: list[Issued] = []

        async def write(tx: WriteTx) -> ChildRow:
            stored = await tx.join_tokens.get(token.id)
            redeemed = join_token.redeem(
                _record(stored) if stored is not None else None, token, hashed, name, kind, now
            )
            assert stored is not None
            existing = await tx.children.get(redeemed.name)
            _check_cluster(existing, await tx.children.by_cluster(cluster_uid), redeemed.name, kind, cluster_uid)
            issued, serial = self._issue(public_key, redeemed.name, kind)
            leaf_box[:] = [issued]
            row = _enrolled(existing, stored, redeemed.name, kind, cluster_uid, version, serial, now)
            row = replace(row, cert_not_after=now.timestamp() + issued.lifetime)
            await tx.join_tokens.put(
                replace(
                    stored,
                    uses_left=redeemed.record_after.uses_left,
                    bound=dict(redeemed.record_after.bound_keys),
                )
            )
            await tx.children.put(row)
            return row

        try:
            row = await self._store.write(write)
        except join_token.JoinRefused as refused:
            self._attempts.failed(source, token.id, now.timestamp())
            log.warning("join refused", token=token.id, because=refused.because.value, source=source)
            raise
        await self._inventory.admit(row)
        log.info("child enrolled", child=row.name, kind=row.kind, token=token.id)
        return leaf_box[0]

    async def renew(self, peer: Peer, csr_der: bytes) -> Issued:
        """The next certificate for the identity that the TLS peer proves.

        Raises Unauthenticated (unknown, evicted or replaced identity), InvalidInput, StorageFailed.
        """
        public_key = csr.verify(csr_der)
        name, kind = peer.spiffe_id.name, peer.spiffe_id.kind
        child = self._inventory.find(name)
        if (
            child is None
            or child.row.kind != kind.value
            or peer.spiffe_id.trust_domain != self._authority.trust_domain
        ):
            raise Unauthenticated(f"{name} is not a member of this hub", hint="Join again with a new join token.")
        issued, serial = self._issue(public_key, name, kind)
        ends = datetime.now(UTC).timestamp() + issued.lifetime

        async def write(tx: WriteTx) -> ChildRow:
            stored = await tx.children.get(name)
            if (
                stored is None
                or stored.state != "active"
                or peer.serial not in (stored.serial_current, stored.serial_new)
            ):
                raise Unauthenticated(
                    f"a newer certificate of {name} is in use", hint="Join again with a new join token."
                )
            row = replace(stored, serial_current=peer.serial, serial_new=serial, cert_not_after=ends)
            await tx.children.put(row)
            return row

        row = await self._store.write(write)
        child.row = replace(
            child.row,
            serial_current=row.serial_current,
            serial_new=row.serial_new,
            cert_not_after=row.cert_not_after,
        )
        log.info("certificate renewed", child=name)
        return issued

    def _issue(self, public_key: ec.EllipticCurvePublicKey, name: str, kind: Kind) -> tuple[Issued, str]:
        identity = SpiffeId(self._authority.trust_domain, kind, name)
        leaf = self._authority.issue_child(public_key, identity)
        lifetime = (leaf.not_valid_after_utc - datetime.now(UTC)).total_seconds()
        return Issued(name, leaf.public_bytes(Encoding.DER), lifetime), f"{leaf.serial_number:x}"

    # join tokens, for operators

    async def create_token(
        self, kind: Kind, name: str, labels: Mapping[str, str], lifetime: float, uses: int
    ) -> tuple[join_token.JoinToken, JoinTokenRow]:
        """A new join token. lifetime: seconds. Raises InvalidInput, StorageFailed."""
        now = datetime.now(UTC)
        token, record = join_token.new_join_token(
            self._authority.pin,
            now,
            kind=kind,
            name=name,
            labels=labels,
            lifetime=timedelta(seconds=lifetime),
            uses=uses,
        )
        row = JoinTokenRow(
            id=record.id,
            secret_hash=record.secret_hash,
            name=record.name,
            kind=record.kind.value,
            labels=dict(record.labels),
            expires=record.expires.timestamp(),
            uses_left=record.uses_left,
            bound={},
            created=now.timestamp(),
        )

        async def write(tx: WriteTx) -> None:
            await tx.join_tokens.delete_expired(now.timestamp() - 24 * 3600)
            await tx.join_tokens.put(row)

        await self._store.write(write)
        return token, row

    async def list_tokens(self) -> list[JoinTokenRow]:
        """Those that can still be used, in the order of their expiry."""

        async def read(tx: ReadTx) -> list[JoinTokenRow]:
            return list(await tx.join_tokens.list())

        now = datetime.now(UTC).timestamp()
        rows = [row for row in await self._store.read(read) if row.expires > now and row.uses_left > 0]
        return sorted(rows, key=lambda row: (row.expires, row.id))

    async def revoke_token(self, token_id: str) -> None:
        """End a join token at once. Raises NotFound, StorageFailed."""

        async def write(tx: WriteTx) -> None:
            if await tx.join_tokens.get(token_id) is None:
                raise NotFound(f"there is no join token {token_id}", hint="See `arbora join-token list`.")
            await tx.join_tokens.delete(token_id)

        await self._store.write(write)


def _record(row: JoinTokenRow) -> join_token.JoinTokenRecord:
    return join_token.JoinTokenRecord(
        id=row.id,
        secret_hash=row.secret_hash,
        name=row.name,
        kind=Kind(row.kind),
        labels=row.labels,
        expires=datetime.fromtimestamp(row.expires, UTC),
        uses_left=row.uses_left,
        bound_keys=row.bound,
    )


def _check_cluster(
    existing: ChildRow | None, same_cluster: ChildRow | None, name: str, kind: Kind, cluster_uid: str
) -> None:
    """One cluster, one name. Raises Conflict."""
    if not cluster_uid:
        what = "an agent must say which cluster it is in" if kind is Kind.AGENT else "a hub must say its id"
        raise InvalidInput(what, field="cluster_uid")
    if existing is not None and existing.state == "active":
        if existing.kind != kind.value:
            raise Conflict(f"{name} is a member of the kind {existing.kind}", hint="Choose another name.")
        if existing.cluster_uid != cluster_uid:
            raise Conflict(
                f"the name {name} belongs to another {_WHAT[kind]} ({existing.cluster_uid})",
                hint=f"Choose another name, or evict the old one first: arbora members evict {name}",
            )
    if cluster_uid and same_cluster is not None and same_cluster.state == "active" and same_cluster.name != name:
        raise Conflict(
            f"this {_WHAT[kind]} is a member already, as {same_cluster.name}",
            hint=f"Join as {same_cluster.name}, or evict it first: arbora members evict {same_cluster.name}",
        )


def _enrolled(
    existing: ChildRow | None,
    token: JoinTokenRow,
    name: str,
    kind: Kind,
    cluster_uid: str,
    version: str,
    serial: str,
    now: datetime,
) -> ChildRow:
    """The row of a child that joins: new, or again."""
    if existing is not None and existing.state == "active":
        return replace(existing, serial_current=serial, serial_new="", version=version)
    return ChildRow(
        name=name,
        kind=kind.value,
        cluster_uid=cluster_uid,
        labels=dict(token.labels),
        taints=(),
        cordoned=False,
        state="active",
        serial_current=serial,
        serial_new="",
        cert_not_after=0.0,
        # an epoch never goes back, not even for a member that was evicted and came again
        session_epoch=existing.session_epoch if existing is not None else 0,
        last_status=b"",
        last_seen=0.0,
        created=now.timestamp(),
        version=version,
    )
