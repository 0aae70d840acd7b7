"""A workload on its way to a child hub: its placement as seen from there, and its budget. Pure.

A hub runs the same operator over its own children, so it gets the whole wish; only names are made relative to it:
of members that are listed those below it stay, and where the hub itself is listed everything below it is meant.
"""

from __future__ import annotations

from collections.abc import Iterable

from arbora.identity.names import Path
from arbora.v1 import workload_pb2 as pb
from arbora_hub.workloads.record import Bound, WorkloadRecord


def assignment_below(record: WorkloadRecord, child: str, part: Bound, own_path: Path) -> pb.Assignment:
    """What a child hub is told."""
    message = pb.Assignment(
        uid=record.row.uid,
        name=record.row.title,
        generation=part.generation,
        withdrawn=part.withdrawn,
        labels=record.row.labels,
        share=part.replicas,
    )
    if not part.withdrawn:
        submission = record.submission
        message.spec.placement.CopyFrom(placement_below(submission.placement, child, own_path))
        message.spec.manifests.extend(submission.manifests)
        message.spec.overrides = submission.overrides
        message.budget.CopyFrom(pb.Budget(replicas=part.replicas, copies=part.copies))
    return message


def placement_below(placement: pb.Placement, child: str, own_path: Path) -> pb.Placement:
    """The same placement for the hub `child` of the hub at `own_path`."""
    below = pb.Placement()
    below.CopyFrom(placement)
    # least numbers are this hub's to see to: below one child fewer members and groups may be all there are
    below.minimum = 0
    for spread in below.spread:
        spread.min_groups = 0
    members, whole = _rest(placement.members, child, own_path)
    del below.members[:]
    below.members.extend(members)
    if whole:
        del below.members[:]
        below.selector.Clear()
        below.selector.SetInParent()
    groups = []
    for group in placement.groups:
        inside, everything = _rest(group.members, child, own_path)
        if not (inside or everything or group.HasField("selector")):
            continue  # none of its members is below this hub
        one = pb.AffinityGroup(name=group.name, members=() if everything else inside)
        if everything:
            one.selector.SetInParent()
        elif group.HasField("selector"):
            one.selector.CopyFrom(group.selector)
        groups.append(one)
    del below.groups[:]
    below.groups.extend(groups)
    if not below.members and not below.groups and not below.HasField("selector"):
        below.selector.SetInParent()
    if placement.HasField("division"):
        weights = [_weight(one, child, own_path) for one in placement.division.weights]
        del below.division.weights[:]
        below.division.weights.extend(one for one in weights if one is not None)
    return below


def hubs_named(placement: pb.Placement, own_path: Path) -> dict[str, str]:
    """Children that must be hubs, as a path below them is named: child -> such a path."""
    texts = [
        *placement.members,
        *(member for group in placement.groups for member in group.members),
        *(one.member for one in placement.division.weights if one.member),
    ]
    found: dict[str, str] = {}
    for text in texts:
        path = _relative(text, own_path)
        if path is not None and len(path.labels) > 1:
            found.setdefault(path.labels[0], text)
    return found


def _weight(one: pb.StaticWeight, child: str, own_path: Path) -> pb.StaticWeight | None:
    if not one.member:
        return one
    inside, everything = _rest([one.member], child, own_path)
    if everything:
        weight = pb.StaticWeight(weight=one.weight)
        weight.selector.SetInParent()
        return weight
    return pb.StaticWeight(weight=one.weight, member=inside[0]) if inside else None


def _rest(texts: Iterable[str], child: str, own_path: Path) -> tuple[list[str], bool]:
    """(paths relative to the child, whether the child itself is named)."""
    inside, everything = [], False
    for text in texts:
        path = _relative(text, own_path)
        if path is None or path.labels[:1] != (child,):
            continue
        if len(path.labels) == 1:
            everything = True
        else:
            inside.append("/".join(path.labels[1:]))
    return inside, everything


def _relative(text: str, own_path: Path) -> Path | None:
    path = Path.parse(text)
    return path.relative_to(own_path) if text.startswith("/") else path
