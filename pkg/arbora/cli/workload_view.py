"""How workloads look: the list, one in full. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from arbora.cli import words
from arbora.cli.labels import show_labels
from arbora.cli.lines import Column
from arbora.cli.output import Section
from arbora.errors import InvalidInput
from arbora.manifests.objects import from_json, ref_of
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import State
from arbora.workloads.wire import state_from_wire

_DONE = (State.AVAILABLE, State.COMPLETE)


def _members(workload: pb.Workload) -> str:
    parts = [part for part in workload.assignments if not part.withdrawn]
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
    Column("AGE", lambda w: words.age(w.created)),
    Column("GENERATION", lambda w: str(w.generation), wide=True),
    Column("UID", lambda w: w.uid, wide=True),
    Column("LABELS", lambda w: show_labels(w.labels) or "-", wide=True),
    Column("MESSAGE", lambda w: w.message, long=True),
)


def placement(wanted: pb.Placement) -> str:
    """Where it goes, in one line."""
    parts = [", ".join(wanted.members)] if wanted.members else []
    if wanted.HasField("selector"):
        terms = [f"{key}={value}" for key, value in sorted(wanted.selector.match_labels.items())]
        for each in wanted.selector.match_expressions:
            values = f" ({', '.join(each.values)})" if each.values else ""
            terms.append(f"{each.key} {each.operator}{values}")
        parts.append(f"members with {' and '.join(terms)}" if terms else "all members")
    return "; ".join(parts)


def describe(workload: pb.Workload) -> list[Section]:
    """One workload in full."""
    facts = [
        ("Workload", workload.name),
        ("State", state(workload)),
        ("Message", workload.message),
        ("Placement", placement(workload.spec.placement)),
        ("Generation", str(workload.generation)),
        ("Labels", show_labels(workload.labels)),
        ("Created", f"{words.moment(workload.created)} ({words.age(workload.created)} ago)"),
        ("UID", workload.uid),
    ]
    members: list[Sequence[str]] = []
    objects: list[Sequence[str]] = []
    for part in workload.assignments:
        status = part.status
        behind = "" if status.generation >= part.generation else f" (generation {status.generation} reported)"
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
        members.append((part.path, reported, note.strip()))
        for each in status.objects:
            where = f"{each.namespace}/{each.name}" if each.namespace else each.name
            objects.append((part.path, each.kind, where, words.workload_state(each.state), each.message))
    written = [(str(index), _named(data)) for index, data in enumerate(workload.spec.manifests, 1)]
    return [
        Section(facts=facts),
        Section("Manifests", facts=written),
        Section("Members", table=(("MEMBER", "STATE", "MESSAGE"), members)),
        Section("Objects", table=(("MEMBER", "KIND", "NAME", "STATE", "MESSAGE"), objects)),
    ]


def _named(manifest: bytes) -> str:
    try:
        return str(ref_of(from_json(manifest)))
    except InvalidInput as error:
        return f"unreadable: {error}"
