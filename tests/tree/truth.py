"""What must be so in every tree: at any moment, and once it has come to rest. Compares hubs with members."""

from __future__ import annotations

from arbora.workloads.model import State
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.facts import digest_of, facts_of
from arbora_hub.workloads.record import WorkloadRecord
from arbora_hub.workloads.summary import parts_of
from tests.tree.member import Member
from tests.tree.world import World


def wanted(record: WorkloadRecord) -> int:
    """Pods that a hub is to place of a workload: its budget, or all of it."""
    if record.row.from_parent:
        return int(record.budget.replicas)
    return sum(group.replicas for group in record.submission.demand.groups)


def given(record: WorkloadRecord) -> dict[str, int]:
    """Child -> pods, of the parts that are not withdrawn."""
    return {name: part.replicas for name, part in record.bound.items() if not part.withdrawn}


def check_always(world: World) -> None:
    """No member runs more than it has, no hub gives away more than it has to give."""
    for member in world.members.values():
        member.check()
    for node in world.hubs.values():
        for record in node.hub.workloads if node.up else ():
            if record.row.deleting:
                continue
            parts, most = given(record), wanted(record)
            where = f"{record.row.name} at {node.name}: {parts} of {most}"
            if record.submission.divided:
                assert sum(parts.values()) <= most, where
            else:
                assert len(parts) <= 1, where


def check_settled(world: World) -> None:
    """Once it has come to rest: everything is where the hubs say, as much of it as fits, and nothing else is."""
    for name in world.hubs:
        for record in world.hubs[name].hub.workloads:
            _check_workload(world, name, record)
        for child in world.hubs[name].hub.inventory:
            _check_capacity(world, name, child)
            _check_lines(world, name, child)
    for member in world.members.values():
        _check_member(world, member)


def _check_workload(world: World, hub: str, record: WorkloadRecord) -> None:
    what = f"{record.row.name} ({record.row.uid[:8]}) at {hub}"
    assert not record.row.deleting, f"{what} is still being deleted: {record.sentence()}"
    if record.row.from_parent:
        above = world.hubs[world.parent[hub]].hub.workloads.of_uid(record.row.uid)
        assert above is not None, f"{what} is an orphan: the hub above does not know it"
        assert world.label(hub) in given(above), f"{what} is an orphan: the hub above does not give it here"
        assert given(above)[world.label(hub)] == wanted(record), f"{what} has another budget than it was given"
    members = world.below(hub)
    truth = {}
    for name in members:
        work = world.members[name].works.get(record.row.uid)
        if work is not None:
            assert work.running == len(work.pods), f"{what}: {_burden(world.members[name])}"
            truth[world.path(name, hub)] = len(work.pods)
    told = list(parts_of(record, world.hubs[hub].hub.inventory))
    assert not [one for one in told if one.stale or one.withdrawn], f"{what}: {told}"
    assert {one.path: one.replicas for one in told} == truth, f"{what}: told {told}, truth {truth}"
    assert all(one.state is State.AVAILABLE for one in told), f"{what}: {told}"
    placed, most = sum(truth.values()), wanted(record)
    assert placed <= most, f"{what} runs {placed} of {most}"
    if placed < most:
        size = record.submission.demand.groups[0].gpus_per_pod
        least = 1 if record.submission.divided else most
        room = {name: world.members[name].room(size) for name in members}
        room = {name: pods for name, pods in room.items() if pods >= least}
        anew = world.hubs[hub].hub.workloads.explain(record).sentence
        assert not room, (
            f"{what}: {most - placed} pods of {size} GPUs wait, and there is room {room}: {record.decision}; "
            f"mode {record.submission.policy.mode}, caps {record.caps}; decided anew: {anew}"
        )


def _burden(member: Member) -> str:
    given = {work.assignment.name: (work.gpus, work.pods) for work in member.works.values()}
    return f"{member.name} with {member.nodes} can't run all that it was given: {given}"


def _check_capacity(world: World, hub: str, child: Child) -> None:
    """What a hub knows of a child is what the members below it have."""
    (name,) = [one for one in world.parent if world.parent[one] == hub and world.label(one) == child.name]
    told = [row for one in child.sketches.values() for row in one.rows if not row.stale]
    members = [world.members[name]] if name in world.members else [world.members[m] for m in world.below(name)]
    truth = (sum(one.total for one in members), sum(one.free_gpus() for one in members))
    seen = (sum(row.total for row in told), sum(row.free for row in told))
    last_known = " as it was last known before it started" if child.restored else ""
    assert seen == truth, f"{hub} sees (total, free) {seen} below {child.name}{last_known}; it is {truth}"


def _check_lines(world: World, hub: str, child: Child) -> None:
    """The line of a member far below has the digest that the hub which owns it made."""
    by_path = {world.path(name, hub): name for name in world.below(hub)}
    for path, line in child.lines.items():
        name = by_path.get(f"{child.name}/{path}")
        if name is not None and line.facts:
            wanted = digest_of(facts_of(world.members[name].status()))
            assert (line.facts, line.api_healthy) == (wanted, True), f"{hub} has other facts of {path}"


def _check_member(world: World, member: Member) -> None:
    hub = world.parent[member.name]
    for uid, work in member.works.items():
        record = world.hubs[hub].hub.workloads.of_uid(uid)
        known = record is not None and given(record).get(member.name) == len(work.pods)
        assert known, f"{member.name} runs {len(work.pods)} pods of {uid[:8]}, which {hub} does not want there"
