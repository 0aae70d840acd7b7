"""Join tokens `arb1.<id>.<secret>.<pin>`: all that a child needs besides an address to join a hub.

Life of one: `new_join_token` at the hub (only the hash of its secret is kept), shown once, `parse`d by
the child (the pin guards its first contact, `bundle.authority_with_pin`) and by the hub, which then decides
by `redeem`. A use binds the token to the key of the child's CSR: the same key gets the same answer
again (its reply may have been lost), another key is one more use. `redeem` is pure: the caller reads
the record and writes `record_after` in one transaction, so of many racers one wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from arbora.errors import Conflict, InvalidInput, PermissionDenied
from arbora.identity.names import Kind, check_name
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

__all__ = [
    "DEFAULT_LIFETIME",
    "JoinRefused",
    "JoinToken",
    "JoinTokenRecord",
    "Redeemed",
    "RefusedBecause",
    "hash_secret",
    "new_join_token",
    "parse",
    "redeem",
]

DEFAULT_LIFETIME = timedelta(hours=1)
"""How long a join token can be used."""

MAX_USES = 10_000
"""Uses of one token at most; each leaves a line in its record."""

_PREFIX = "arb1"
_FORM = "arb1.<id>.<secret>.<pin>"
_SECRET_LENGTH = 32  # 160 bits
_PIN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token's parts. Its repr doesn't show the secret."""

    id: str
    secret: Secret
    pin: str
    """SHA-256 over the hub CA's public key, hex; see `authority.pin`."""

    def text(self) -> str:
        """The whole token; call it only where it is shown to who asked for it."""
        return f"{_PREFIX}.{self.id}.{self.secret.reveal()}.{self.pin}"


@dataclass(frozen=True, slots=True)
class JoinTokenRecord:
    """What a hub keeps of a join token."""

    id: str
    secret_hash: str = field(repr=False)
    name: str
    """The one name that may join with it; empty: any."""
    kind: Kind
    labels: Mapping[str, str]
    """What the member is labelled with."""
    expires: datetime
    uses_left: int
    bound_keys: Mapping[str, str] = field(default_factory=dict)
    """Hash of each key that has used it (`keys.key_hash`) -> the name given."""


class RefusedBecause(Enum):
    """Why a token was refused, for the audit log; a peer learns less (see `redeem`)."""

    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong secret"
    EXPIRED = "expired"
    USED = "used"
    WRONG_KIND = "wrong kind"
    WRONG_NAME = "wrong name"


class JoinRefused(PermissionDenied):
    """The token does not let this child in. `because` is for the audit log, never for the peer."""

    def __init__(self, because: RefusedBecause, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint, field="token")
        self.because = because


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A token was accepted."""

    record_after: JoinTokenRecord
    """To be stored in place of the one decided on."""
    name: str
    """The child's name at this hub."""
    repeated: bool
    """The same key had used it before; the record is unchanged."""


def new_join_token(
    pin: str,
    now: datetime,
    *,
    kind: Kind = Kind.AGENT,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    lifetime: timedelta = DEFAULT_LIFETIME,
    uses: int = 1,
) -> tuple[JoinToken, JoinTokenRecord]:
    """A new token for the hub whose CA has `pin`, and what to keep of it.

    Raises InvalidInput for a bad name or pin, a lifetime or a number of uses out of range, or a name
    together with more than one use (a name is one child's).
    """
    if not _PIN.fullmatch(pin):
        raise InvalidInput("a pin is 64 lower-case hex digits", field="pin")
    if name:
        check_name(name)
    if lifetime <= timedelta(0):
        raise InvalidInput("a join token's lifetime must be positive", field="lifetime")
    if not 1 <= uses <= MAX_USES:
        raise InvalidInput(f"a join token has 1 to {MAX_USES} uses, not {uses}", field="uses")
    if name and uses != 1:
        raise InvalidInput(
            f"a join token for the name {name} has one use, not {uses}",
            field="uses",
            hint="Leave the name out and let each child bring its own, or make one token a child.",
        )
    token = JoinToken(new_text(ID_LENGTH), Secret(new_text(_SECRET_LENGTH)), pin)
    record = JoinTokenRecord(
        token.id, hash_secret(token.secret), name, kind, dict(labels or {}), now + lifetime, uses
    )
    return token, record


def parse(text: str) -> JoinToken:
    """Read a token. Raises InvalidInput, which says what is wrong and never repeats the text."""
    token_id, secret, pin = split(text, _PREFIX, 3, _FORM)
    if not is_text(token_id, ID_LENGTH) or not is_text(secret, _SECRET_LENGTH) or not _PIN.fullmatch(pin):
        raise malformed(_FORM)
    return JoinToken(token_id, Secret(secret), pin)


def redeem(
    record: JoinTokenRecord | None,
    token: JoinToken,
    key_hash: str,
    wanted_name: str,
    kind: Kind,
    now: datetime,
) -> Redeemed:
    """Decide whether the child with the key `key_hash` may join, and under which name.

    record: what the hub keeps under the token's id; None if nothing.
    wanted_name: what the child calls itself; may be empty if the token is bound to a name.

    Raises JoinRefused (unknown, wrong secret, expired, used, wrong kind, wrong name), InvalidInput (no
    name, or not a name), Conflict (another key of this token has the name). An unknown id and a wrong
    secret read the same and take the same time; the other reasons are told only to who has the secret.
    """
    genuine = is_secret(token.secret, record.secret_hash if record else NO_HASH)
    if record is None or record.id != token.id:
        raise _unknown(RefusedBecause.UNKNOWN)
    if not genuine:
        raise _unknown(RefusedBecause.WRONG_SECRET)
    if now >= record.expires:
        raise JoinRefused(
            RefusedBecause.EXPIRED,
            f"the join token {record.id} ended at {record.expires:%Y-%m-%d %H:%M:%S} UTC",
            hint=_MAKE_NEW,
        )
    if kind is not record.kind:
        raise JoinRefused(
            RefusedBecause.WRONG_KIND,
            f"the join token {record.id} is for {_of_kind(record.kind)}, not for {_of_kind(kind)}",
            hint=f"Make one with the kind {kind.value}: arbora join-token create.",
        )
    given = record.bound_keys.get(key_hash)
    expected = record.name if given is None else given
    if expected and wanted_name not in ("", expected):
        raise JoinRefused(
            RefusedBecause.WRONG_NAME,
            f"the join token {record.id} is for the name {expected}, not {wanted_name!r}",
            hint=f"Join as {expected}, or make a token for the other name: arbora join-token create.",
        )
    if given is not None:
        return Redeemed(record, given, repeated=True)
    if record.uses_left <= 0:
        raise JoinRefused(
            RefusedBecause.USED, f"the join token {record.id} has been used by another key", hint=_MAKE_NEW
        )
    return _bind(record, key_hash, expected or wanted_name)


def _bind(record: JoinTokenRecord, key_hash: str, name: str) -> Redeemed:
    if not name:
        raise InvalidInput(
            f"the join token {record.id} is bound to no name and the child brings none",
            field="name",
            hint="Give the child a name.",
        )
    check_name(name)
    if name in record.bound_keys.values():
        raise Conflict(
            f"another child has joined as {name} with the join token {record.id}", hint="Choose another name."
        )
    after = replace(record, uses_left=record.uses_left - 1, bound_keys={**record.bound_keys, key_hash: name})
    return Redeemed(after, name, repeated=False)


_MAKE_NEW = "Make a new one: arbora join-token create."


def _of_kind(kind: Kind) -> str:
    return {Kind.AGENT: "an agent", Kind.HUB: "a hub"}[kind]


def _unknown(because: RefusedBecause) -> JoinRefused:
    return JoinRefused(
        because,
        "the join token is not known at this hub",
        hint="Check that it is whole and for this hub, or make a new one: arbora join-token create.",
    )
