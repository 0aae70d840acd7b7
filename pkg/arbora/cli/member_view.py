"""How members look: the list, and one in full. Pure but for printing through `output.py`."""

from __future__ import annotations

from collections.abc import Sequence

from arbora.capacity.gpus import GpuClass
from arbora.cli import words
from arbora.cli.labels import show_labels, show_taint
from arbora.cli.lines import Column
from arbora.cli.output import Section
from arbora.cli.plain import enum_word
from arbora.v1 import enrollment_pb2
from arbora.v1 import member_pb2 as pb


def _heard(member: pb.Member) -> str:
    return words.duration(member.heard_ago) if member.HasField("heard_ago") else "never"


def _kind(member: pb.Member) -> str:
    return enum_word(enrollment_pb2.ChildKind.DESCRIPTOR, member.kind)


def _nodes(member: pb.Member) -> str:
    return f"{member.status.nodes_ready}/{member.status.nodes}" if member.HasField("status") else "-"


def _taint(taint: pb.Taint) -> str:
    added = f" (added {words.age(taint.added)} ago)" if taint.HasField("added") else ""
    return f"{show_taint(taint)}{added}"


def _gpus(member: pb.Member) -> str:
    return words.member_gpus(member) + ("?" if member.stale and member.sketches else "")


COLUMNS: Sequence[Column[pb.Member]] = (
    Column("MEMBER", lambda m: m.path, long=True),
    Column("STATE", words.member_state, style=words.member_style),
    Column("GPUS FREE", _gpus),
    Column("NODES", _nodes),
    Column("WORKLOADS", lambda m: str(m.workloads)),
    Column("HEARD", _heard),
    Column("KIND", _kind, wide=True),
    Column("KUBERNETES", lambda m: m.status.kubernetes_version or "-", wide=True),
    Column("VERSION", lambda m: m.version or "-", wide=True),
    Column(
        "CONNECTED", lambda m: words.duration(m.connected_for) if m.HasField("connected_for") else "-", wide=True
    ),
    Column("TAINTS", lambda m: ",".join(show_taint(t) for t in m.taints) or "-", wide=True),
    Column("LABELS", lambda m: show_labels(m.labels) or "-", wide=True),
)


def class_of(sketch: pb.Sketch) -> GpuClass:
    """The sketch's class, for its name."""
    wire = sketch.gpu_class
    return GpuClass(wire.vendor, wire.product, wire.mig_profile, wire.sharing or "exclusive")


def describe(member: pb.Member) -> list[Section]:
    """One member in full."""
    status = member.status
    api = "answers" if status.api_healthy else "does not answer"
    certificate = (
        f"valid for {words.duration(member.certificate_lifetime)}"
        if member.HasField("certificate_lifetime")
        else ""
    )
    facts = [
        ("Member", member.path),
        ("Kind", _kind(member)),
        ("State", words.member_state(member)),
        ("Heard", f"{_heard(member)} ago" if member.HasField("heard_ago") else "never"),
        ("Connected", f"for {words.duration(member.connected_for)}" if member.HasField("connected_for") else ""),
        ("Session", str(member.session_epoch)),
        ("Version", member.version),
        ("Certificate", certificate),
        ("Labels", show_labels(member.labels)),
        ("Taints", ", ".join(map(_taint, member.taints))),
        ("Workloads", str(member.workloads)),
    ]
    cluster = [
        ("Kubernetes", status.kubernetes_version),
        ("API server", f"{api}: {status.message}" if status.message else api),
        ("Nodes", f"{status.nodes_ready} ready of {status.nodes}"),
        ("Cluster UID", status.cluster_uid),
        ("Simulated", "yes" if status.simulated else ""),
        ("Note", "as it was before the present session" if member.stale else ""),
    ]
    sections = [Section(facts=facts)]
    if member.HasField("status"):
        sections.append(Section("Cluster", cluster))
    rows: list[Sequence[str]] = []
    for sketch in member.sketches:
        total, used, free, unhealthy, pending = (
            str(sum(getattr(row, name) for row in sketch.rows))
            for name in ("total", "used", "free", "unhealthy", "pending")
        )
        rows.append((str(class_of(sketch)), total, used, free, unhealthy, pending))
    sections.append(Section("GPUs", table=(("CLASS", "TOTAL", "USED", "FREE", "UNHEALTHY", "PENDING"), rows)))
    return sections
