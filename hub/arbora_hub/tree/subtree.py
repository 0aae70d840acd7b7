"""What is below this hub, from its children: rows of GPUs, counts of members, a line for each member.

    Child -> `branch_of` -> `rows_of` one child        -> `rows_below`
                         -> `status_below`, `own_line`, `passed_line` -> `lines_below`

A child that is not present is shown and never counted as free; of a hub that is not present, nobody below it is.
Must not do I/O or read a clock, and must not believe a child about anything but what is below it. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from arbora.capacity.aggregate import (
    MAX_AGE,
    MAX_ROWS,
    NO_GPUS,
    Labels,
    Taints,
    TreeRow,
    add_up,
    from_wire,
)
from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow, without_free
from arbora.capacity.wire import class_to_wire, sketch_from_wire
from arbora.errors import InvalidInput
from arbora.identity.names import MAX_DEPTH
from arbora.v1 import member_pb2
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.facts import digest_of, facts_of
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.inventory.wire import KIND_TO_WIRE, taint
from arbora_hub.store.rows import TaintRow
from arbora_hub.tree.fencing import NOTHING, Fence

MAX_SKETCHES = MAX_ROWS
"""GPU classes that are taken from one child at most."""
AGE_STEP = 10.0
"""Seconds; ages are rounded down to one digit and to no less than this, so that an idle subtree says nothing."""

MAX_PATH = 480
"""Characters of a relative path that a line is sent for; a record's key has a limit."""

AGENT, HUB = "agent", "hub"
ReadSketch = Callable[[str, member_pb2.Sketch], tuple[TreeRow, ...]]
"""Reads a sketch of a child of a kind."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One child as aggregation sees it."""

    name: str
    kind: str = AGENT
    """agent or hub."""
    cluster_uid: str = ""
    """Of a hub: its id. Stated at enrollment, so not whatever it says later."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[TaintRow, ...] = ()
    cordoned: bool = False
    version: str = ""
    session_epoch: int = 0
    liveness: Liveness = Liveness.ONLINE
    restored: bool = False
    """Its sketches are from before this process started."""
    age: float = 0.0
    """Seconds since it was heard of, in steps; 0 while it is present."""
    sketches: Mapping[str, member_pb2.Sketch] = field(default_factory=dict)
    status: member_pb2.ClusterStatus | None = None
    """What it last said of itself; never changed, only replaced."""
    subtree: member_pb2.SubtreeStatus | None = None
    """Of a hub."""
    lines: Mapping[str, member_pb2.MemberLine] = field(default_factory=dict)
    """Of a hub, by path relative to it; a view, not a copy."""

    @property
    def present(self) -> bool:
        """Whether its GPUs may be given away."""
        return self.liveness is Liveness.ONLINE and not self.restored


def branch_of(child: Child, now: float, wall: float) -> Branch:
    """now: loop time; wall: seconds since the epoch, for a child that was last heard of by an earlier process."""
    row = child.row
    if child.moved:
        # what it said is said elsewhere now, and it may stand below another child of this hub
        return Branch(row.name, row.kind, labels=row.labels, version=row.version, liveness=child.liveness)
    branch = Branch(
        name=row.name,
        kind=row.kind,
        cluster_uid=row.cluster_uid,
        labels=row.labels,
        taints=row.taints,
        cordoned=row.cordoned,
        version=row.version,
        session_epoch=row.session_epoch,
        liveness=child.liveness,
        restored=child.restored,
        sketches=dict(child.sketches),
        status=child.status,
        subtree=child.subtree,
        lines=child.lines,
    )
    return branch if branch.present else replace(branch, age=age_of(child, now, wall))


def age_of(child: Child, now: float, wall: float) -> float:
    """Seconds since a child that is not present was heard of, in steps; 0 if it never was. Times as above."""
    if child.heard is not None:
        return stepped_age(now - child.heard)
    return stepped_age(wall - child.row.last_seen) if child.row.last_seen else 0.0


def stepped_age(seconds: float) -> float:
    """Rounded down: to 10 s below 100 s, to 100 s below 1000 s, and so on."""
    step = AGE_STEP
    while seconds >= 10 * step and step < MAX_AGE:
        step *= 10
    return max(0.0, seconds // step * step)


def read_sketch(kind: str, message: member_pb2.Sketch) -> tuple[TreeRow, ...]:
    """A child's record as rows. What can't be read counts as not there, as in placement."""
    try:
        if kind == HUB:
            return from_wire(message)
        gpu_class, row = sketch_from_wire(message)
    except InvalidInput:
        return ()
    return (TreeRow(gpu_class, row=row),)


def rows_of(branch: Branch, inherited: Mapping[str, str], read: ReadSketch = read_sketch) -> tuple[TreeRow, ...]:
    """The rows of one child: what it sent, with its own labels and taints. inherited: labels beneath its own."""
    above = {**inherited, **branch.labels}
    labels = tuple(sorted(above.items()))
    taints = tuple(sorted({(one.key, one.value, one.effect) for one in branch.taints}))
    messages = sorted(branch.sketches.items())[:MAX_SKETCHES]
    rows = add_up(
        _placed(row, branch, above, labels, taints)
        for _key, message in messages
        for row in read(branch.kind, message)
    )
    if rows or branch.kind != AGENT or branch.cordoned or not branch.present:
        return rows
    return (TreeRow(NO_GPUS, labels, taints, row=SketchRow(members=1)),)


def rows_below(
    branches: Iterable[Branch], inherited: Mapping[str, str], fence: Fence = NOTHING
) -> tuple[TreeRow, ...]:
    """The rows of everything below, not limited in number."""
    return add_up(
        row for branch in branches if branch.name not in fence.children for row in rows_of(branch, inherited)
    )


def status_below(
    branches: Iterable[Branch], hub_id: str, placement_epoch: int, *, lines: bool, fence: Fence = NOTHING
) -> member_pb2.SubtreeStatus:
    """Counts of agents at any depth, and the ids of hubs. lines: whether a line is sent for each member.

    A hub that is not online is counted no longer and so not named: it may stand elsewhere by now.
    """
    counts: Counter[Liveness] = Counter()
    hubs: set[str] = set()
    for branch in branches:
        if branch.name in fence.children:
            continue
        if branch.kind == AGENT:
            counts[branch.liveness] += 1
            continue
        online = branch.liveness is Liveness.ONLINE
        if online and branch.cluster_uid:
            hubs.add(branch.cluster_uid)
        if branch.subtree is not None:
            if online:
                hubs.update(branch.subtree.hubs)
            for liveness, count in _counted(branch.subtree):
                counts[seen_through(branch.liveness, liveness)] += count
    return member_pb2.SubtreeStatus(
        hub_id=hub_id,
        placement_epoch=placement_epoch,
        hubs=sorted(hubs - {hub_id}),
        members=min(sum(counts.values()), 2**32 - 1),
        members_online=min(counts[Liveness.ONLINE], 2**32 - 1),
        members_suspect=min(counts[Liveness.SUSPECT], 2**32 - 1),
        members_lost=min(counts[Liveness.LOST], 2**32 - 1),
        members_joining=min(counts[Liveness.JOINING], 2**32 - 1),
        lines=lines,
    )


def seen_through(hub: Liveness, below: Liveness) -> Liveness:
    """How present a member is, by what a hub between says of it and how present that hub is."""
    if below is Liveness.JOINING or hub is Liveness.ONLINE:
        return below
    # a hub that never connected has said nothing; if it did all the same, that is not to be relied on
    return max(below, Liveness.SUSPECT if hub is Liveness.JOINING else hub)


def lines_below(branches: Iterable[Branch], fence: Fence = NOTHING) -> dict[str, member_pb2.MemberLine]:
    """By path relative to this hub: one line for each child, then those that child hubs sent."""
    lines: dict[str, member_pb2.MemberLine] = {}
    for branch in branches:
        lines[branch.name] = own_line(branch, rows_of(branch, {}))
        for path in branch.lines:
            line = passed_line(branch, path, fence)
            if line is not None:
                lines[f"{branch.name}/{path}"] = line
    return lines


def own_line(branch: Branch, rows: Iterable[TreeRow]) -> member_pb2.MemberLine:
    """The line of a child itself. rows: its rows."""
    line = member_pb2.MemberLine(
        path=branch.name,
        kind=KIND_TO_WIRE[branch.kind],
        liveness=int(branch.liveness),  # type: ignore[arg-type]  # enums are plain ints at run time
        labels=branch.labels,
        cordoned=branch.cordoned,
        version=branch.version,
        cluster_uid=branch.cluster_uid,
    )
    line.taints.extend(map(taint, branch.taints))
    if branch.kind == AGENT and branch.status is not None:
        line.facts = digest_of(facts_of(branch.status))
        line.api_healthy = branch.status.api_healthy
    by_class: defaultdict[GpuClass, list[SketchRow]] = defaultdict(list)
    for row in rows:
        if row.gpu_class != NO_GPUS:
            by_class[row.gpu_class].append(row.row)
    for gpu_class in sorted(by_class):
        counts = by_class[gpu_class]
        line.gpus.add(
            gpu_class=class_to_wire(gpu_class),
            total=min(sum(one.total for one in counts), 2**32 - 1),
            free=min(sum(one.free for one in counts), 2**32 - 1),
            unhealthy=min(sum(one.unhealthy for one in counts), 2**32 - 1),
        )
    return line


def passed_line(branch: Branch, path: str, fence: Fence = NOTHING) -> member_pb2.MemberLine | None:
    """The line that a child hub sent for `path`, as seen from here; None if there is none, or it is fenced."""
    line = branch.lines.get(path)
    whole = f"{branch.name}/{path}"
    if line is None or fence.covers(whole) or whole.count("/") >= MAX_DEPTH or len(whole) > MAX_PATH:
        return None
    passed = member_pb2.MemberLine()
    passed.CopyFrom(line)
    passed.path = whole
    liveness = seen_through(branch.liveness, liveness_of(line.liveness))
    passed.liveness = int(liveness)  # type: ignore[assignment]  # as above
    if liveness is not Liveness.ONLINE:
        for count in passed.gpus:
            count.free = 0
    return passed


def _placed(row: TreeRow, branch: Branch, above: Mapping[str, str], labels: Labels, taints: Taints) -> TreeRow:
    """A row that a child sent, as seen from its hub."""
    stale = row.stale or not branch.present
    if not above and not taints and stale is row.stale and not branch.cordoned and branch.age <= row.worst_age:
        return row
    counts = row.row
    if stale and not row.stale:
        counts = without_free(counts)
    elif branch.cordoned and not stale:
        counts = _cordoned(counts)
    return TreeRow(
        row.gpu_class,
        tuple(sorted({**above, **dict(row.labels)}.items())) if row.labels else labels,
        tuple(sorted({*row.taints, *taints})) if row.taints else taints,
        stale,
        row.approximate,
        max(row.worst_age, branch.age),
        counts,
    )


def _cordoned(row: SketchRow) -> SketchRow:
    """What is free can't be used."""
    return replace(without_free(row), allocatable=row.used, unusable=row.unusable + row.free, pending=row.pending)


def _counted(subtree: member_pb2.SubtreeStatus) -> tuple[tuple[Liveness, int], ...]:
    return (
        (Liveness.ONLINE, subtree.members_online),
        (Liveness.SUSPECT, subtree.members_suspect),
        (Liveness.LOST, subtree.members_lost),
        (Liveness.JOINING, subtree.members_joining),
    )


def liveness_of(number: int) -> Liveness:
    """As a line says it. What is not known is not present."""
    try:
        return Liveness(number)
    except ValueError:
        return Liveness.SUSPECT
