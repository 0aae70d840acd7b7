"""Names and paths of nodes in the tree, and the SPIFFE id that a certificate carries.

Everything is parsed once into a typed value and then compared by equality, never by prefix
(CVE-2026-4740 was a prefix comparison of cluster names).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from arbora.errors import InvalidInput

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

SERVER_NAME = "hub.arbora.internal"
"""In every server certificate that an authority of ours signs. Who dials verifies this name, so a moved address
never breaks TLS."""

MAX_DEPTH = 16
"""Labels in a path at most; a deeper tree is a mistake (a loop, usually)."""


class Kind(Enum):
    """What stands at the lower end of a link; the value is its segment in a SPIFFE id."""

    AGENT = "agent"
    HUB = "hub"


def check_name(text: str, field: str = "name") -> str:
    """Return `text` if it is a DNS-1123 label (at most 63 of a-z, 0-9, inner '-'), else raise InvalidInput."""
    if not _LABEL.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not a valid name",
            field=field,
            hint="Use 1 to 63 lower-case letters, digits and inner dashes, such as edge-7.",
        )
    return text


@dataclass(frozen=True, slots=True, order=True)
class Path:
    """Where a node stands: `/eu/paris/edge-7`. The root is `/`, no labels."""

    labels: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, field: str = "path") -> Path:
        """Read `/eu/paris`, `eu/paris` or `eu`. Raises InvalidInput."""
        body = text.removeprefix("/")
        if not body:
            return cls()
        labels = tuple(check_name(label, field) for label in body.split("/"))
        if len(labels) > MAX_DEPTH:
            raise InvalidInput(f"{text!r} is deeper than {MAX_DEPTH} levels", field=field)
        return cls(labels)

    def child(self, name: str) -> Path:
        """The path of this node's child `name`."""
        return Path((*self.labels, check_name(name)))

    def relative_to(self, above: Path) -> Path | None:
        """The rest of this path below `above`; None if it doesn't lie there."""
        n = len(above.labels)
        return Path(self.labels[n:]) if self.labels[:n] == above.labels else None

    @property
    def name(self) -> str:
        """The last label; empty at the root."""
        return self.labels[-1] if self.labels else ""

    def __str__(self) -> str:
        return "/" + "/".join(self.labels)


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """`spiffe://<trust domain>/<agent|hub>/<name>`: the one URI SAN of a child's certificate."""

    trust_domain: str
    kind: Kind
    name: str

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """Read one exactly; anything else (query, port, other segments, upper case) raises InvalidInput."""
        scheme, _, rest = uri.partition("://")
        parts = rest.split("/")
        if scheme != "spiffe" or len(parts) != 3:
            raise InvalidInput(f"{uri!r} is not a SPIFFE id of the form spiffe://domain/kind/name")
        check_trust_domain(parts[0])
        try:
            kind = Kind(parts[1])
        except ValueError:
            raise InvalidInput(f"{uri!r} names the unknown kind {parts[1]!r}") from None
        return cls(parts[0], kind, check_name(parts[2]))

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/{self.kind.value}/{self.name}"


def check_trust_domain(text: str) -> str:
    """Return `text` if it is a valid trust domain (lower-case DNS name), else raise InvalidInput."""
    if not _TRUST_DOMAIN.fullmatch(text) or ".." in text:
        raise InvalidInput(
            f"{text!r} is not a valid trust domain",
            field="trust_domain",
            hint="Use a lower-case DNS name, such as prod.example.org.",
        )
    return text
