"""Access tokens of clients, `arbk.<id>.<secret>`, and the roles they carry.

Made once by `new_access` (at first start and by an admin), shown once, kept as a hash. Every call
brings one; the hub parses it, looks the id up and decides with `verify`. What a role may do stands in
`rpc/policy.py`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from arbora.errors import InvalidInput, Unauthenticated
from arbora.identity.names import check_name
from arbora.identity.token_text import (
    ID_LENGTH,
    NO_HASH,
    hash_secret,
    is_secret,
    is_text,
    malformed,
    new_text,
    split,
)
from arbora.secret import Secret

__all__ = ["AccessRecord", "AccessToken", "Role", "hash_secret", "new_access", "parse", "verify"]

_PREFIX = "arbk"
_FORM = "arbk.<id>.<secret>"
_SECRET_LENGTH = 52  # 260 bits: it may live for years


class Role(IntEnum):
    """What a client may do; each role includes those below. The numbers are those of arbora.v1.Role."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    def allows(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        return self >= needed


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token's parts. Its repr doesn't show the secret."""

    id: str
    secret: Secret

    def text(self) -> str:
        """The whole token; call it only where it is shown to who asked for it, or sent to its hub."""
        return f"{_PREFIX}.{self.id}.{self.secret.reveal()}"


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """What a hub keeps of an access."""

    name: str
    id: str
    secret_hash: str = field(repr=False)
    role: Role
    created: datetime
    expires: datetime | None
    """None: until it is revoked."""


def new_access(
    name: str, role: Role, now: datetime, lifetime: timedelta | None = None
) -> tuple[AccessToken, AccessRecord]:
    """A new access and what to keep of it. Raises InvalidInput for a bad name or a lifetime not positive."""
    check_name(name)
    if lifetime is not None and lifetime <= timedelta(0):
        raise InvalidInput("an access token's lifetime must be positive", field="lifetime")
    token = AccessToken(new_text(ID_LENGTH), Secret(new_text(_SECRET_LENGTH)))
    expires = None if lifetime is None else now + lifetime
    return token, AccessRecord(name, token.id, hash_secret(token.secret), role, now, expires)


def parse(text: str) -> AccessToken:
    """Read a token. Raises InvalidInput, which never repeats the text."""
    token_id, secret = split(text, _PREFIX, 2, _FORM)
    if not is_text(token_id, ID_LENGTH) or not is_text(secret, _SECRET_LENGTH):
        raise malformed(_FORM)
    return AccessToken(token_id, Secret(secret))


def verify(record: AccessRecord | None, token: AccessToken, now: datetime) -> AccessRecord:
    """Return `record`, what the hub keeps under the token's id, if the token is genuine and not over.

    Raises Unauthenticated. An unknown id and a wrong secret read the same and take the same time.
    """
    genuine = is_secret(token.secret, record.secret_hash if record else NO_HASH)
    if record is None or record.id != token.id or not genuine:
        raise Unauthenticated(
            "the access token is not known at this hub",
            hint="Check that it is for this hub, or ask an admin of it for a new one.",
        )
    if record.expires is not None and now >= record.expires:
        raise Unauthenticated(
            f"the access {record.name} ended at {record.expires:%Y-%m-%d %H:%M:%S} UTC",
            hint="Ask an admin of this hub for a new one.",
        )
    return record
