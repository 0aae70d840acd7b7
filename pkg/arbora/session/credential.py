"""What a child knows of itself and its hub after enrollment, and where it is kept.

`CredentialStore` is a port: a file here (`CredentialFile`), a Secret in the agent. The key that waits for
its certificate is kept, too, so that a lost answer can be asked for again with the same key.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import InvalidInput, StorageFailed
from arbora.files import write_atomic
from arbora.identity.rotation import renew_at


@dataclass(frozen=True)
class Credential:
    """A child's identity at one hub. `key_pem` is secret and left out of the repr."""

    name: str
    path: str
    join_address: str
    session_address: str
    leaf: bytes
    bundle: tuple[bytes, ...]
    key_pem: bytes = field(repr=False)
    joined_with: str = ""
    """Id of the join token, so that a restart with the same token does not join again."""

    def certificate(self) -> x509.Certificate:
        """The leaf, parsed."""
        return x509.load_der_x509_certificate(self.leaf)

    def leaf_pem(self) -> bytes:
        """For the TLS channel."""
        return self.certificate().public_bytes(Encoding.PEM)

    def bundle_pem(self) -> bytes:
        """All trusted CAs of the hub."""
        return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in self.bundle)

    def expired(self, now: datetime) -> bool:
        """Whether no hub would accept the certificate any more."""
        return now >= self.certificate().not_valid_after_utc

    def renew_after(self, now: datetime, chance: float) -> timedelta:
        """How long to wait until the renewal: half of the certificate's life, 10 % jitter."""
        leaf = self.certificate()
        due = renew_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc, chance)
        return max(timedelta(0), due - now)

    def to_json(self) -> str:
        """For the store. Holds the private key: only for a place as safe as the key."""
        return json.dumps(
            {
                "name": self.name,
                "path": self.path,
                "joinAddress": self.join_address,
                "sessionAddress": self.session_address,
                "leaf": base64.b64encode(self.leaf).decode(),
                "bundle": [base64.b64encode(der).decode() for der in self.bundle],
                "key": self.key_pem.decode(),
                "joinedWith": self.joined_with,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Credential:
        """Raises InvalidInput if this is not what `to_json` wrote."""
        try:
            data = json.loads(text)
            return cls(
                name=data["name"],
                path=data["path"],
                join_address=data["joinAddress"],
                session_address=data["sessionAddress"],
                leaf=base64.b64decode(data["leaf"]),
                bundle=tuple(base64.b64decode(der) for der in data["bundle"]),
                key_pem=data["key"].encode(),
                joined_with=data.get("joinedWith", ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"the kept identity can't be read: {type(error).__name__}",
                hint="Remove it and join again with a new join token.",
            ) from error


class CredentialStore(Protocol):
    """Where a child keeps its identity."""

    async def load(self) -> Credential | None:
        """The kept identity, if any. Raises InvalidInput, StorageFailed."""
        ...

    async def save(self, credential: Credential) -> None:
        """Keep it; all or nothing. Raises StorageFailed."""
        ...

    async def pending_key(self) -> bytes | None:
        """The private key (PEM) that was last sent for signing."""
        ...

    async def save_pending_key(self, key_pem: bytes) -> None:
        """Keep the key before it is sent."""
        ...


class CredentialFile:
    """Keeps the identity as `identity.json` (0600) in a directory."""

    def __init__(self, directory: FilePath) -> None:
        self._file = directory / "identity.json"
        self._pending = directory / "pending.key"

    async def load(self) -> Credential | None:
        """See CredentialStore."""
        text = await asyncio.to_thread(_read, self._file)
        return Credential.from_json(text.decode()) if text is not None else None

    async def save(self, credential: Credential) -> None:
        """See CredentialStore."""
        await asyncio.to_thread(write_atomic, self._file, credential.to_json().encode(), 0o600)

    async def pending_key(self) -> bytes | None:
        """See CredentialStore."""
        return await asyncio.to_thread(_read, self._pending)

    async def save_pending_key(self, key_pem: bytes) -> None:
        """See CredentialStore."""
        await asyncio.to_thread(write_atomic, self._pending, key_pem, 0o600)


def _read(path: FilePath) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailed(
            f"{path} can't be read: {os.strerror(error.errno or 0)}", hint="Check the directory's owner and mode."
        ) from error


def utc_now() -> datetime:
    """The wall clock; certificates speak of wall time."""
    return datetime.now(UTC)
