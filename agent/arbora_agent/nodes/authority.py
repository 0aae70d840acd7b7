"""What node agents know this agent by: a CA of its own, kept with its identity, and a certificate that it signs.

    first start: a new CA -> kept -> its certificate published where node agents mount it
    later:       the kept CA -> a server certificate of 30 days, in memory, renewed at half of that

The CA signs this one server and nothing else, so its certificate is all that a node agent has to know. It is
published before the port opens.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import InvalidInput, StorageFailed
from arbora.files import write_atomic
from arbora.identity import authority, keys
from arbora.identity.issue import issue_server
from arbora.rpc.server import ServerTls

log = structlog.get_logger(__name__)

LEAF_LIFETIME = timedelta(days=30)
CERTIFICATE, KEY = "node-ca.crt", "node-ca.key"
PUBLISHED = "ca.crt"
"""The key in the ConfigMap that node agents mount, and its file in a directory."""


class AuthorityStore(Protocol):
    """Where the CA is kept, and where its certificate is published."""

    async def load(self) -> tuple[bytes, bytes] | None:
        """Certificate and key in PEM, or None if there is none yet. Raises StorageFailed, InvalidInput."""
        ...

    async def save(self, certificate: bytes, key: bytes) -> None:
        """Keep both. Raises StorageFailed."""
        ...

    async def publish(self, certificate: bytes) -> None:
        """Show the certificate to node agents. Raises StorageFailed."""
        ...


class AuthorityFiles:
    """In the data directory, for an agent outside of its cluster."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def load(self) -> tuple[bytes, bytes] | None:
        """See AuthorityStore."""
        try:
            return (self._directory / CERTIFICATE).read_bytes(), (self._directory / KEY).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageFailed(f"the CA of node agents can't be read: {error.strerror}") from error

    async def save(self, certificate: bytes, key: bytes) -> None:
        """See AuthorityStore."""
        write_atomic(self._directory / KEY, key, 0o600)
        write_atomic(self._directory / CERTIFICATE, certificate, 0o644)

    async def publish(self, certificate: bytes) -> None:
        """See AuthorityStore: who starts a node agent gives it this file."""


class NodeAuthority:
    """The CA and the present server certificate."""

    def __init__(
        self, store: AuthorityStore, trust_domain: str, wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """trust_domain: names the CA, for people. wall: the present, aware."""
        self._store = store
        self._trust_domain = trust_domain
        self._wall = wall
        self._authority: authority.Authority | None = None
        self.certificate = b""
        """The CA's, in PEM."""
        self._tls: ServerTls | None = None
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    async def load(self) -> bytes:
        """Load or make the CA and publish it; its certificate in PEM. Raises StorageFailed, InvalidInput."""
        kept = await self._store.load()
        if kept is None:
            self._authority = authority.make_authority(self._trust_domain, self._wall())
            certificate, key = authority.to_pem(self._authority)
            await self._store.save(certificate, key)
            log.info("node_ca_made", serial=self._authority.serial)
        else:
            self._authority = _read(*kept)
            certificate = kept[0]
        await self._store.publish(certificate)
        self.certificate = certificate
        self.renew()
        return certificate

    def current(self) -> ServerTls:
        """What the port presents; from memory, for grpc's thread."""
        assert self._tls is not None
        return self._tls

    def renew(self) -> None:
        """Sign a new server certificate if half of the present one's life is over."""
        now = self._wall()
        if now < self._renew_at or self._authority is None:
            return
        key = keys.new_key()
        leaf = issue_server(self._authority, key.public_key(), (), now, LEAF_LIFETIME)
        chain = leaf.public_bytes(Encoding.PEM) + self._authority.certificate.public_bytes(Encoding.PEM)
        self._tls = ServerTls(keys.to_pem(key), chain)
        self._renew_at = now + LEAF_LIFETIME / 2


def _read(certificate: bytes, key: bytes) -> authority.Authority:
    """Raises InvalidInput. Nothing is thrown away before a person has looked."""
    try:
        return authority.load_authority(certificate, key)
    except InvalidInput as error:
        raise InvalidInput(
            f"the CA of node agents is damaged: {error}",
            hint=f"Delete {CERTIFICATE} and {KEY} beside this agent's identity: the next start makes new ones, "
            "and node agents follow.",
        ) from error
