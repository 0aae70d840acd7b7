"""May this child have a session? Decided from its certificate, its Hello and what the hub knows. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from arbora.errors import Refused
from arbora.identity.names import SpiffeId
from arbora.v1 import enrollment_pb2 as pb
from arbora.v1 import session_pb2
from arbora.version import PROTOCOL_VERSIONS
from arbora_hub.store.rows import ChildRow

KIND_NAMES = {pb.CHILD_KIND_AGENT: "agent", pb.CHILD_KIND_HUB: "hub"}
_MISMATCH = {
    "agent": "{} is cluster {}; the agent runs in {}",
    "hub": "{} is the hub {}; this one is {}",
}
MAX_HUBS = 10_000
MAX_TEXT = 256
"""Longest text of a Hello's field, in characters."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The child may come in."""

    promote: bool
    """It uses its renewed certificate for the first time: the old one is dead from now on."""
    protocol: int


def examine(
    hello: session_pb2.Hello,
    identity: SpiffeId,
    serial: str,
    row: ChildRow | None,
    trust_domain: str,
    hub_id: str,
    ancestors: Collection[str] = (),
) -> Accepted:
    """Raises Refused with the one refusal that says how the child is to react.

    hub_id: this hub's. ancestors: those of the hubs above it.
    """
    if identity.trust_domain != trust_domain:
        raise Refused(pb.REFUSAL_MUST_REJOIN, f"the certificate is of the trust domain {identity.trust_domain}")
    if row is None or row.kind != identity.kind.value:
        raise Refused(
            pb.REFUSAL_MUST_REJOIN, f"{identity.kind.value} {identity.name} is not enrolled at this hub"
        )
    if row.state == "evicted":
        raise Refused(pb.REFUSAL_BANNED, f"{identity.name} was evicted from this hub")
    if serial not in (row.serial_current, row.serial_new) or not serial:
        raise Refused(
            pb.REFUSAL_NOT_ACTIVE, f"a newer certificate of {identity.name} is in use; this one no longer counts"
        )
    protocol = next((version for version in PROTOCOL_VERSIONS if version in hello.protocols), None)
    if protocol is None:
        raise Refused(
            pb.REFUSAL_VERSION_UNSUPPORTED,
            f"the child speaks protocol {list(hello.protocols[:8])}, this hub {list(PROTOCOL_VERSIONS)}",
        )
    texts = (
        hello.instance_id,
        hello.version,
        hello.cluster_uid,
        *hello.capabilities[:64],
        *hello.hub_instances,
    )
    if len(hello.hub_instances) > MAX_HUBS:
        raise Refused(pb.REFUSAL_PROTOCOL, f"Hello names more than {MAX_HUBS} hubs below the child")
    if not hello.instance_id or any(len(text) > MAX_TEXT for text in texts):
        raise Refused(pb.REFUSAL_PROTOCOL, "Hello lacks an instance id or holds a text that is too long")
    if KIND_NAMES.get(hello.kind) != row.kind:
        raise Refused(
            pb.REFUSAL_PROTOCOL, f"{identity.name} is enrolled as {row.kind} and says it is something else"
        )
    if row.cluster_uid and hello.cluster_uid != row.cluster_uid:
        raise Refused(
            pb.REFUSAL_CLUSTER_MISMATCH,
            _MISMATCH[row.kind].format(identity.name, row.cluster_uid, hello.cluster_uid or "none"),
        )
    if row.kind == "hub" and not {hub_id, *ancestors}.isdisjoint((row.cluster_uid, *hello.hub_instances)):
        raise Refused(pb.REFUSAL_LOOP, f"{identity.name} is above this hub: the link would close a circle")
    return Accepted(promote=serial == row.serial_new, protocol=protocol)
