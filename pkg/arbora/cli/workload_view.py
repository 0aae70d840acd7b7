"""How workloads look: the list, one in full. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from arbora.cli import words
from arbora.cli.explain_view import replicas
from arbora.cli.labels import show_labels
from arbora.cli.lines import Column, align
from arbora.cli.output import Section
from arbora.cli.placement_view import placement_facts
from arbora.errors import InvalidInput
from arbora.manifests.objects import from_json, ref_of
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import State
from arbora.workloads.wire import state_from_wire

_DONE = (State.AVAILABLE, State.COMPLETE)


def _kept(workload: pb.Workload) -> list[pb.MemberAssignment]:
    return [part for part in workload.assignments if not part.withdrawn]


def _members(workload: pb.Workload) -> str:
    parts = _kept(workload)
    done = sum(
        part.status.generation >= workload.generation and state_from_wire(part.status.state) in _DONE
        for part in parts
    )
    return f"{done}/{len(parts)}"


def state(workload: pb.Workload) -> str:
    """`Available`, `Deleting`."""
    return "Deleting" if workload.deleting else words.workload_state(workload.state)


COLUMNS: Sequence[Column[pb.Workload]] = (
    Column("NAME", lambda w: w.name, long=True),
    Column("STATE", state, style=lambda w: words.workload_style(w.state)),
    Column("MEMBERS", _members),
    Column("REPLICAS", lambda w: str(sum(part.replicas for part in _kept(w))), wide=True),
    Column(
        "PENDING", lambda w: str(w.pending) if w.pending else "-", style=lambda w: "yellow" if w.pending else ""
    ),
    Column("AGE", lambda w: words.age(w.created)),
    Column("GENERATION", lambda w: str(w.generation), wide=True),
    Column("UID", lambda w: w.uid, wide=True),
    Column("LABELS", lambda w: show_labels(w.labels) or "-", wide=True),
    Column("MESSAGE", lambda w: w.message, long=True),
)


def move_lines(moves: Iterable[pb.MemberMove]) -> list[str]:
    """Replicas of each member before and after, as a table; none if nothing moves. `-`: no part at all."""
    rows = [
        (
            move.path,
            str(move.before) if move.HasField("before") else "-",
            str(move.after) if move.HasField("after") else "-",
        )
        for move in moves
    ]
    return [f"  {line}" for line in align([("MEMBER", "BEFORE", "AFTER"), *rows])] if rows else []


def describe(workload: pb.Workload, why: pb.Explanation | None = None) -> list[Section]:
    """One workload in full. why: the explanation of what is pending."""
    facts = [
        ("Workload", workload.name),
        ("State", state(workload)),
        ("Message", workload.message),
        ("Pending", replicas(workload.pending) if workload.pending else ""),
        *(("Because", reason) for reason in dict.fromkeys(why.reasons if why else ())),
        ("Would help", why.wake if why else ""),
        *placement_facts(workload.spec.placement),
        ("Overrides", _overrides(workload.spec.overrides)),
        ("Generation", str(workload.generation)),
        ("Labels", show_labels(workload.labels)),
        ("Created", f"{words.moment(workload.created)} ({words.age(workload.created)} ago)"),
        ("UID", workload.uid),
    ]
    members: list[Sequence[str]] = []
    objects: list[Sequence[str]] = []
    for part in workload.assignments:
        status = part.status
        late = part.HasField("status") and status.generation < part.generation
        behind = f" (generation {status.generation} reported)" if late else ""
        note = "; ".join(
            text
            for text in (
                status.message + behind,
                "being withdrawn" if part.withdrawn else "",
                "not heard of since" if part.stale else "",
            )
            if text.strip()
        )
        reported = words.workload_state(status.state) if part.HasField("status") else "Pending"
        members.append((part.path, reported, str(part.replicas or "-"), note.strip()))
        for each in status.objects:
            where = f"{each.namespace}/{each.name}" if each.namespace else each.name
            objects.append((part.path, each.kind, where, words.workload_state(each.state), each.message))
    written = [(str(index), _named(data)) for index, data in enumerate(workload.spec.manifests, 1)]
    return [
        Section(facts=facts),
        Section("Manifests", facts=written),
        Section("Members", table=(("MEMBER", "STATE", "REPLICAS", "MESSAGE"), members)),
        Section("Objects", table=(("MEMBER", "KIND", "NAME", "STATE", "MESSAGE"), objects)),
    ]


def _overrides(written: bytes) -> str:
    try:
        found = json.loads(written or b"[]")
    except ValueError:
        return "unreadable"
    return str(len(found)) if found else ""


def _named(manifest: bytes) -> str:
    try:
        return str(ref_of(from_json(manifest)))
    except InvalidInput as error:
        return f"unreadable: {error}"
