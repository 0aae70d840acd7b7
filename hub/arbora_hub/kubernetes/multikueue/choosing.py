"""Which member gets a Workload: the hub's own placement, over the members of one config. Pure.

    members and what Kueue says of them -> Field -> `choose` -> Choice: the best member, or all that could ever
    take it where none has room, or nobody; and for each of the others, why not

Where none has room now, every member that has such GPUs at all is named, and the first whose queue admits the
job gets it: waiting here would hide it from their queues, and from the priorities there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from arbora_hub.kubernetes.multikueue.asking import Wish
from arbora_hub.kubernetes.multikueue.members import FleetMember
from arbora_hub.placement.decide import Decision, decide
from arbora_hub.placement.policy import Policy, Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.snapshot import Snapshot

_PASSING = frozenset({"fit", "exclusion"})
"""Filters whose no may be a yes later: there is no room now, or it was asked and did not answer in time."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member that a config names."""

    cluster: str
    """Its MultiKueueCluster."""
    member: FleetMember
    closed: str = ""
    """Why it takes nothing now, as the end of a sentence; empty: it does."""
    leaving: bool = False
    """Whether it is to go, so that a nomination of it is taken back at once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is to be nominated, and why not the others."""

    clusters: tuple[str, ...]
    """The best alone, or all that could take it some time, by name; empty: nobody."""
    reserved: tuple[tuple[str, int], ...]
    """(cluster, pods) that the choice takes."""
    sentence: str
    why_not: tuple[tuple[str, str], ...]
    """(path, the end of a sentence), by path."""


class Ground:
    """The members of all configs as placement sees them; made anew when any of them changes."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_cluster = {one.cluster: one for one in sorted(candidates, key=lambda each: each.cluster)}
        self._snapshots: dict[frozenset[str], Snapshot] = {}

    def candidate(self, cluster: str) -> Candidate | None:
        """One of them."""
        return self._by_cluster.get(cluster)

    def path(self, cluster: str) -> str:
        """Where it stands, or its name where nothing more is known."""
        one = self._by_cluster.get(cluster)
        return one.member.path if one is not None else cluster

    def snapshot(self, clusters: Iterable[str]) -> Snapshot:
        """Only these."""
        wanted = frozenset(each for each in clusters if each in self._by_cluster)
        found = self._snapshots.get(wanted)
        if found is None:
            # a place is named after its cluster, so that a decision's words can be used as they are
            places = ((self._by_cluster[name].member, name) for name in sorted(wanted))
            found = self._snapshots[wanted] = Snapshot(
                (replace(member.place, name=name), member.rows) for member, name in places
            )
        return found


def choose(
    uid: str,
    wish: Wish,
    clusters: Iterable[str],
    ground: Ground,
    reservations: Reservations,
    weights: Mapping[str, float],
    tried: Mapping[str, str],
    now: float,
) -> Choice:
    """The members to nominate. clusters: those that the config names. tried: cluster -> why not once more."""
    known = [one for one in map(ground.candidate, sorted(clusters)) if one is not None]
    excluded = {one.cluster: one.closed or _lacking(wish, one) for one in known}
    shut = {cluster: why for cluster, why in excluded.items() if why}
    snapshot = ground.snapshot(clusters)
    policy = Policy(clusters=1, weights=dict(weights))
    request = Request(uid, policy, wish.demand, excluded={**tried, **shut})
    decision = decide(request, snapshot, {}, reservations, now, top=None)
    why_not = _reasons(decision, ground)
    if decision.assignments:
        cluster, pods = decision.assignments[0]
        others = [one for one in decision.explanation.scored if one.child != cluster]
        better = f", before {len(others)} other{'s' * (len(others) != 1)} with room" if others else ""
        return Choice((cluster,), ((cluster, pods),), f"{ground.path(cluster)} is best{better}", why_not)
    could = tuple(one.cluster for one in known if one.cluster not in shut and _ever(decision, wish, one))
    if could:
        names = ", ".join(ground.path(each) for each in could)
        return Choice(could, (), f"no room now; the first of {names} to admit it gets it", why_not)
    return Choice((), (), "no member can take it", why_not)


def _lacking(wish: Wish, one: Candidate) -> str:
    """Which of several products a member would need; empty if it has one of them."""
    for classes in wish.alternatives:
        if not any(row.gpu_class in classes for row in one.member.rows):
            return f"has none of {', '.join(sorted(each.product for each in classes))}"
    return ""


def _ever(decision: Decision, wish: Wish, one: Candidate) -> bool:
    """Whether only room or time keeps a member from taking it, and it is large enough when it is empty."""
    rejected = [each for each in decision.explanation.rejected if each.child == one.cluster]
    if any(each.filter not in _PASSING for each in rejected):
        return False
    for group in wish.demand.merged:
        gpu = group.gpu
        if gpu is None:
            continue
        total = sum(
            row.sketch.total for row in one.member.rows if row.gpu_class is not None and gpu.takes(row.gpu_class)
        )
        if total < group.replicas * group.gpus_per_pod:
            return False
    return True


def _reasons(decision: Decision, ground: Ground) -> tuple[tuple[str, str], ...]:
    """The first reason against each, in the order of the filters: the others mostly follow from it."""
    found: dict[str, str] = {}
    for each in decision.explanation.rejected:
        found.setdefault(ground.path(each.child), each.sentence)
    return tuple(sorted(found.items()))
