"""How access, join tokens and the hub itself look. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from arbora.cli import words
from arbora.cli.labels import show_labels
from arbora.cli.lines import Column
from arbora.cli.output import Section
from arbora.cli.plain import enum_word
from arbora.v1 import access_pb2 as pb
from arbora.v1 import enrollment_pb2


def role(access: pb.Access) -> str:
    """`Admin`."""
    return enum_word(pb.Role.DESCRIPTOR, access.role)


def _expires(item: pb.Access | pb.JoinToken) -> str:
    return words.until(item.expires) if item.HasField("expires") else "never"


ACCESS_COLUMNS: Sequence[Column[pb.Access]] = (
    Column("NAME", lambda access: access.name, long=True),
    Column("ROLE", role),
    Column("AGE", lambda access: words.age(access.created)),
    Column("EXPIRES IN", _expires),
)

JOIN_TOKEN_COLUMNS: Sequence[Column[pb.JoinToken]] = (
    Column("ID", lambda token: token.id),
    Column("NAME", lambda token: token.name or "any", long=True),
    Column("KIND", lambda token: enum_word(enrollment_pb2.ChildKind.DESCRIPTOR, token.kind)),
    Column("USES LEFT", lambda token: str(token.uses_left)),
    Column("EXPIRES IN", _expires),
    Column("LABELS", lambda token: show_labels(token.labels) or "-", long=True),
)

AUTHORITY_HEADERS = ("PHASE", "SERIAL", "EXPIRES IN", "PIN")


def authority_rows(keys: Sequence[pb.AuthorityKey]) -> list[Sequence[str]]:
    """One row for each CA; the whole pin is in -o json."""
    return [(key.phase, key.serial, words.until(key.not_after), f"{key.pin[:16]}…") for key in keys]


def describe_access(access: pb.Access) -> list[Section]:
    """One access in full."""
    return [Section(facts=[("Name", access.name), ("Role", role(access)), ("Expires in", _expires(access))])]


def uplink_facts(uplink: pb.Uplink) -> list[tuple[str, str]]:
    """The link to the hub above."""
    facts = [
        ("Parent", uplink.parent),
        ("Uplink", f"{uplink.phase}: {uplink.message}"),
        ("Exports", uplink.exports),
    ]
    if uplink.standby:
        facts.append(("Standby", ", ".join(uplink.standby)))
    return facts


def describe_hub(hub: pb.GetHubResponse, address: str) -> list[Section]:
    """The hub in full."""
    members = ", ".join(f"{count} {word}" for word, count in sorted(hub.members.items()) if count)
    facts = [
        ("Hub", hub.id),
        ("Path", hub.path),
        ("Version", hub.version),
        ("Up", f"for {words.duration(hub.uptime)}"),
        ("Clients", address),
        ("Children", f"join at {hub.join_address}"),
        ("Trust domain", hub.trust_domain),
        ("Members", members or "none"),
        ("Workloads", str(hub.workloads)),
    ]
    facts[2:2] = uplink_facts(hub.uplink) if hub.HasField("uplink") else []
    return [Section(facts=facts), Section("CA", table=(AUTHORITY_HEADERS, authority_rows(hub.authority)))]
