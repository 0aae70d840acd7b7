"""Slow facts of a member cluster, and a digest of them that travels where they themselves do not. Pure.

    ClusterStatus -> `facts_of` -> `digest_of` -> MemberLine.facts -> hubs above: another one? GetMember

Whether the API server answers is not among them: that is in every line.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from arbora.v1 import member_pb2

DIGEST_BYTES = 8
MAX_PROPERTIES = 64
"""Of one member, as an honest agent keeps to as well; so for the next."""
MAX_VERSION = 128
MAX_CA_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What a cluster's agent said of it."""

    kubernetes_version: str = ""
    api_ca_pem: bytes = b""
    """What verifies its API server; empty: the usual authorities do, or there is none."""
    reachable: bool = False
    """There is a way to its API server through hubs' gateways."""
    properties: tuple[tuple[str, str], ...] = ()
    """Its ClusterProperty objects, (name, value) by name."""
    properties_left_out: tuple[str, ...] = ()
    """Names of those that its agent did not report."""


def facts_of(status: member_pb2.ClusterStatus) -> Facts:
    """The facts in a status, bounded whatever the agent says. Of properties with one name the last counts."""
    properties = sorted({one.name: one.value for one in status.properties}.items())
    left_out = {*status.properties_left_out, *(name for name, _ in properties[MAX_PROPERTIES:])}
    return Facts(
        status.kubernetes_version[:MAX_VERSION],
        status.api_ca_pem if len(status.api_ca_pem) <= MAX_CA_BYTES else b"",
        status.reachable,
        tuple(properties[:MAX_PROPERTIES]),
        tuple(sorted(left_out)[:MAX_PROPERTIES]),
    )


def digest_of(facts: Facts) -> bytes:
    """The same for the same facts, in every process and of every version that knows no others."""
    made = blake2b(digest_size=DIGEST_BYTES)
    parts = [facts.kubernetes_version.encode(), facts.api_ca_pem, b"\x01" if facts.reachable else b"\x00"]
    parts += [text.encode() for pair in facts.properties for text in pair]
    parts += [name.encode() for name in facts.properties_left_out]
    for part in (b"%d" % len(facts.properties), *parts):
        # with its length, so that no two lists of parts are one text
        made.update(len(part).to_bytes(4, "big"))
        made.update(part)
    return made.digest()


def keep_properties(status: member_pb2.ClusterStatus, before: member_pb2.ClusterStatus | None) -> None:
    """An agent that has just started knows no properties yet: those before stay in `status`."""
    if not status.properties_pending or before is None:
        return
    del status.properties[:]
    status.properties.extend(before.properties)
    status.properties_left_out[:] = before.properties_left_out
