"""How events and audit entries look. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from arbora.cli import words
from arbora.cli.lines import Column
from arbora.cli.plain import enum_word
from arbora.v1 import event_pb2 as pb

EVENT_COLUMNS: Sequence[Column[pb.Event]] = (
    Column("TIME", lambda event: words.clock(event.time)),
    Column(
        "TYPE",
        lambda event: enum_word(pb.Severity.DESCRIPTOR, event.severity),
        style=lambda event: "yellow" if event.severity == pb.SEVERITY_WARNING else "",
    ),
    Column("REASON", lambda event: event.reason),
    Column("SUBJECT", lambda event: event.subject, long=True),
    Column("ID", lambda event: event.id, wide=True),
    Column("MESSAGE", lambda event: event.message, long=True),
)

AUDIT_COLUMNS: Sequence[Column[pb.AuditEntry]] = (
    Column("TIME", lambda entry: words.clock(entry.time)),
    Column("ACTOR", lambda entry: entry.actor, long=True),
    Column("ACTION", lambda entry: entry.action),
    Column("SUBJECT", lambda entry: entry.subject or "-", long=True),
    Column("OUTCOME", lambda entry: entry.outcome, style=lambda entry: "" if entry.outcome == "OK" else "red"),
    Column("PEER", lambda entry: entry.peer, wide=True),
    Column("DETAIL", lambda entry: entry.detail, wide=True),
)
