"""A Fleet, its members and what Kueue knows -> everything that has to be there now. Pure; time comes in.

A member that is new gets its MultiKueueCluster at once and stands in the config from then on, connected or not:
membership says who may be asked, and the dispatcher asks only those that can be. One that is to go drains first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arbora.manifests.objects import Manifest
from arbora_hub.kubernetes.multikueue import shards
from arbora_hub.kubernetes.multikueue.draining import Draining, Leaving, Serving, State, in_config, judged
from arbora_hub.kubernetes.multikueue.kinds import DRAINING_ANNOTATION, PATH_ANNOTATION, SHARD_LABEL
from arbora_hub.kubernetes.multikueue.members import Finding, FleetMember
from arbora_hub.kubernetes.multikueue.names import cluster_name, worker_name
from arbora_hub.kubernetes.multikueue.objects import ClusterWanted, Wanted, for_member, for_queues, for_shard
from arbora_hub.kubernetes.multikueue.quotas import summed
from arbora_hub.kubernetes.multikueue.settings import MultiKueueSettings
from arbora_hub.kubernetes.multikueue.workers import worker_manifests

NAMED = 3
"""Members that a sentence names."""
LEFT, CORDONED, ENDED = "it left the Fleet", "it is cordoned", "the Fleet wants no MultiKueue"
ITSELF = "it is the cluster of Kueue's manager, which can't be its own member"

Groups = Sequence[Mapping[str, Any]]
"""A ClusterQueue's `resourceGroups`."""


@dataclass(frozen=True, slots=True)
class KnownCluster:
    """A MultiKueueCluster of ours as it stands."""

    path: str
    shard: int
    since: float | None = None
    """When it began to drain, in seconds since the epoch."""
    profile: str = ""
    """What its AuthTokenRequest names."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a plan is made from."""

    fleet: str
    settings: MultiKueueSettings
    written: Mapping[str, Any]
    """The settings as the Fleet has, or had, them."""
    ended: bool
    """Whether the Fleet is gone, or wants MultiKueue no more."""
    members: Mapping[str, FleetMember]
    """By path."""
    known: Mapping[str, KnownCluster]
    """By path."""
    profiles: Mapping[str, str]
    """Path -> its ClusterProfile in Kueue's namespace."""
    busy: Mapping[str, int]
    """Path -> Workloads that have it."""
    standing: Mapping[int, Groups] = field(default_factory=dict)
    """Shard -> what its ClusterQueue gives away now."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """Path -> an object of somebody else that has the name of one of this member."""
    own_uid: str = ""
    """UID of the cluster where Kueue's manager is; empty: not known."""

    def why_to_go(self, path: str) -> str:
        """Why a member is not to be in Kueue's configuration; empty if it is."""
        if self.ended:
            return ENDED
        member = self.members.get(path)
        if member is None:
            return LEFT
        if self.own_uid and member.cluster_uid == self.own_uid:
            return ITSELF
        return CORDONED if self.settings.removal.cordoned and member.place.cordoned else ""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The Arbora workload of one member."""

    name: str
    path: str
    manifests: tuple[Manifest, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be there."""

    wanted: tuple[Wanted, ...]
    workers: tuple[WorkerPlan, ...]
    kept_workers: frozenset[str]
    """Names of further Arbora workloads that stay as they are."""
    states: Mapping[str, State]
    """By path, of all that Kueue knows or is to know."""
    finding: Finding
    again: float | None
    """Seconds after which time alone may change it."""


def known_cluster(item: Mapping[str, Any], profile: str) -> KnownCluster | None:
    """What our own MultiKueueCluster says of itself; None: somebody took our marks away."""
    metadata = item["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    path, shard = annotations.get(PATH_ANNOTATION, ""), labels.get(SHARD_LABEL, "")
    if not path or not shard.isdigit():
        return None
    since = annotations.get(DRAINING_ANNOTATION, "")
    return KnownCluster(path, int(shard), float(since) if since.isdigit() else None, profile)


def planned(it: Situation, now: float) -> Plan:
    """What has to be there for one Fleet. now: seconds since the epoch."""
    states, waiting = _states(it, now)
    placed = shards.assigned({path: one.shard for path, one in it.known.items()}, in_config(states))
    wanted: list[Wanted] = []
    for path, shard in sorted(placed.items()):
        wanted += _for_member(it, path, shard, states[path])
    for shard in sorted(set(placed.values())):
        here = [path for path, where in placed.items() if where == shard]
        wanted += for_shard(
            it.fleet, it.settings, it.written, shard, [cluster_name(it.fleet, path) for path in here]
        )
        hold = all(isinstance(states[path], Draining) for path in here)
        wanted += for_queues(it.fleet, it.settings, shard, _groups(it, shard, here), hold=hold)
    workers, kept = _workers(it, placed)
    ends = [one.left for one in states.values() if isinstance(one, Draining) and one.left is not None]
    return Plan(
        tuple({one.key: one for one in wanted}.values()),
        workers,
        kept,
        states,
        _finding(it, states, waiting),
        max(0.0, min(ends)) if ends else None,
    )


def _states(it: Situation, now: float) -> tuple[dict[str, State], list[str]]:
    """The state of each member, and those that can't be told to Kueue yet."""
    states: dict[str, State] = {}
    waiting = []
    for path in sorted(it.members.keys() | it.known.keys()):
        why, known = it.why_to_go(path), it.known.get(path)
        if known is not None:
            busy, limit = it.busy.get(path, 0), it.settings.removal.after
            states[path] = judged(not why, why, known.since, busy, now, limit)
        elif not why and path in it.profiles and path not in it.taken:
            states[path] = Serving()
        elif not why and path not in it.profiles:
            waiting.append(path)
    return states, waiting


def _for_member(it: Situation, path: str, shard: int, state: State) -> tuple[Wanted, ...]:
    known = it.known.get(path)
    profile = it.profiles.get(path) or (known.profile if known is not None else "")
    since = state.since if isinstance(state, Draining) else None
    request, cluster = for_member(it.fleet, it.settings, ClusterWanted(path, shard, profile, since))
    return (request, cluster) if profile else (cluster,)


def _groups(it: Situation, shard: int, here: Sequence[str]) -> Groups:
    """What a shard's queue gives away; as it is while somebody's capacity is not known, or all are to go."""
    members = [it.members[path] for path in here if path in it.members]
    standing = it.standing.get(shard)
    if standing and (it.ended or not members or not all(one.known for one in members)):
        return standing
    quota = it.settings.queues.quota if it.settings.queues is not None else {}
    rows = [row for one in members for row in one.rows]
    return [group.data() for group in summed(rows, quota, it.settings.name)]


def _workers(it: Situation, placed: Mapping[str, int]) -> tuple[tuple[WorkerPlan, ...], frozenset[str]]:
    plans, kept = [], set()
    for path, shard in sorted(placed.items()):
        name, member = worker_name(it.fleet, path), it.members.get(path)
        if it.settings.workers is None:
            continue
        if it.ended or member is None or not member.known:
            # what it has is not known (any more), and it must go on admitting what it has been given
            kept.add(name)
        else:
            plans.append(WorkerPlan(name, path, worker_manifests(it.settings, shard, member.rows)))
    return tuple(plans), frozenset(kept)


def _finding(it: Situation, states: Mapping[str, State], waiting: Sequence[str]) -> Finding:
    serving = [path for path, one in states.items() if isinstance(one, Serving)]
    draining = {path: one.sentence for path, one in states.items() if isinstance(one, Draining)}
    forced = {path: one.sentence for path, one in states.items() if isinstance(one, Leaving) and one.forced}
    parts = [f"{len(serving)} member{'s' * (len(serving) != 1)} take{'s' * (len(serving) == 1)} jobs"]
    parts += [f"{path} goes although it may run jobs: {sentence}" for path, sentence in _some(forced)]
    parts += [f"{path} drains: {sentence}" for path, sentence in _some(draining)]
    if waiting:
        where = it.settings.namespace
        named = ", ".join(waiting[:NAMED]) + (" ..." if len(waiting) > NAMED else "")
        parts.append(
            f"{named} ha{'s' if len(waiting) == 1 else 've'} no ClusterProfile in namespace {where}: "
            f"name it in the Fleet's namespaces"
        )
    parts += [f"{path} is left out, as {title} was not made by this Fleet" for path, title in _some(it.taken)]
    parts += [f"{path} is left out: {ITSELF}" for path in it.members if it.why_to_go(path) == ITSELF]
    if it.ended:
        return Finding(False, "Ended" if not states else "Draining", "; ".join(parts[1:]) or ENDED)
    if it.taken:
        return Finding(False, "NameTaken", "; ".join(parts))
    if waiting:
        return Finding(False, "ProfileMissing", "; ".join(parts))
    if not serving:
        return Finding(False, "NoMembers", "; ".join(parts))
    return Finding(True, "Draining" if draining else "Configured", "; ".join(parts))


def _some(sentences: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(sentences.items())[:NAMED]
