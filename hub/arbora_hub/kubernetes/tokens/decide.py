"""What is due for an AuthTokenRequest that is there. Pure: plain data and the time go in, one action comes out.

no such member (any more)     the Secret is deleted, and the member lets go
another cluster stands there  likewise, until somebody accepts that cluster
a Secret of somebody else     nothing is done
no token, other wishes, late  ask the member
otherwise                     wait until the token is due
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RELOOK_SECONDS = 300.0
"""A Secret that somebody deleted or changed is noticed this late: the hub may read Secrets, not watch them."""
MARGIN_SECONDS = 30.0
"""A token that ends so soon is taken for one that has ended."""

Reason = Literal["ProfileNotFound", "ClusterReplaced"]


@dataclass(frozen=True, slots=True)
class Target:
    """The member that stands behind the request's profile now."""

    path: str
    """From the root of the tree."""
    cluster_uid: str


@dataclass(frozen=True, slots=True)
class Issued:
    """What is known of the token that there is: whom it is of from the hub's own store, times from the status."""

    path: str = ""
    cluster_uid: str = ""
    """Empty: never issued."""
    generation: int = 0
    expires: float = 0.0
    """Seconds since the epoch; so is the next."""
    rotate: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """All that counts."""

    generation: int
    held: bool
    """It has our finalizer."""
    target: Target | None
    issued: Issued
    secret: Literal["ours", "absent", "foreign"]
    """Whether the Secret of that name is ours and holds a token."""
    accepted_uid: str = ""
    """The cluster that somebody accepted in place of the one it was issued for."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Put our finalizer on it."""


@dataclass(frozen=True, slots=True)
class Mint:
    """Ask the member `target` for a token."""

    target: Target


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Delete the Secret, close the way in, have the member let go; what the status says then."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing is done until it changes."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for so many seconds. None: until something changes."""

    seconds: float | None


Action = Hold | Mint | TakeBack | Refuse | Wait


def decide(seen: Seen, now: float) -> Action:
    """The one thing to do next. now: seconds since the epoch."""
    issued = seen.issued
    if seen.target is None:
        return TakeBack("ProfileNotFound", "no ClusterProfile of ours has that name in this namespace")
    if issued.cluster_uid and seen.target.cluster_uid not in (issued.cluster_uid, seen.accepted_uid):
        return TakeBack(
            "ClusterReplaced",
            f"another cluster ({seen.target.cluster_uid}) stands at {seen.target.path} now; for a token of it, "
            f"annotate this request with {ACCEPT}={seen.target.cluster_uid}",
        )
    if seen.secret == "foreign":
        return Refuse("SecretExists", "there is a Secret of that name that is not this request's")
    if not seen.held:
        return Hold()
    if (
        seen.secret == "absent"
        or issued.generation != seen.generation
        or issued.cluster_uid != seen.target.cluster_uid
        or issued.path != seen.target.path
        or now >= min(issued.rotate, issued.expires - MARGIN_SECONDS)
    ):
        return Mint(seen.target)
    return Wait(min(RELOOK_SECONDS, max(0.0, issued.rotate - now)))


ACCEPT = "arbora.dev/accept-cluster-uid"
"""Annotation: the uid of the cluster that may get a token in place of the one before."""


def renewal(lifetime: float, fraction: float, chance: float) -> float:
    """Seconds after which a token that lives so long is renewed. chance: in [0, 1); it spreads many out.

    Up to 5 % of its life earlier than asked for, never later.
    """
    return lifetime * max(0.0, fraction - 0.05 * chance)
