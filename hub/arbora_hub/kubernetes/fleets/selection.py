"""Which member belongs into which namespace, by all Fleets. Pure.

A namespace holds one ClusterSet (KEP-4322), so of Fleets that want one namespace for different sets the oldest
has it. A change of one member costs a look at each Fleet; a change of the Fleets costs a look at everybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from arbora_hub.kubernetes.fleets.spec import Fleet

Place = tuple[str, str]
"""A namespace, and a member's path from the root."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A Fleet does not get a namespace."""

    namespace: str
    owner: str
    """The Fleet that has it."""
    cluster_set: str
    """What that one calls the set."""

    def __str__(self) -> str:
        return f"namespace {self.namespace} holds the ClusterSet {self.cluster_set} of the Fleet {self.owner}"


class Selection:
    """What is wanted."""

    def __init__(self) -> None:
        self.fleets: dict[str, Fleet] = {}
        """By name, the oldest first."""
        self.conflicts: dict[str, tuple[Conflict, ...]] = {}
        """By name of the Fleet."""
        self.cluster_sets: dict[str, str] = {}
        """By namespace: all into which anything is to be published."""
        self.held: frozenset[str] = frozenset()
        """Namespaces of Fleets with something wrong in them: nothing is taken out of them."""
        self._members: dict[str, Mapping[str, str]] = {}
        self._selected: dict[str, frozenset[str]] = {}
        """By path: the Fleets that it belongs to."""
        self._wanted: dict[str, frozenset[str]] = {}
        """By path: the namespaces."""
        self._counts: defaultdict[str, int] = defaultdict(int)

    def wants(self, namespace: str, path: str) -> bool:
        """Whether the member is to be published there."""
        return namespace in self._wanted.get(path, ())

    def namespaces_of(self, path: str) -> frozenset[str]:
        """Where the member is to be published."""
        return self._wanted.get(path, frozenset())

    def places(self) -> set[Place]:
        """All of it."""
        return {(namespace, path) for path, namespaces in self._wanted.items() for namespace in namespaces}

    def members_of(self, fleet: str) -> int:
        """How many members belong to it."""
        return self._counts.get(fleet, 0)

    def fleets_of(self, path: str) -> frozenset[str]:
        """The names of the Fleets that the member belongs to."""
        return self._selected.get(path, frozenset())

    def published_into(self, fleet: Fleet) -> tuple[str, ...]:
        """The namespaces that a Fleet has."""
        if fleet.faults:
            return ()
        lost = {one.namespace for one in self.conflicts.get(fleet.name, ())}
        return tuple(one for one in fleet.namespaces if one not in lost)

    def put_member(self, path: str, labels: Mapping[str, str] | None) -> set[Place]:
        """A member appeared, changed or went away (None). Returns the places that are wanted now and were not, or
        the other way round."""
        if labels is None:
            self._members.pop(path, None)
        elif self._members.get(path) == labels:
            return set()
        else:
            self._members[path] = labels
        return self._select(path)

    def put_fleets(self, fleets: Iterable[Fleet]) -> set[Place]:
        """These are all Fleets now. Returns the places as above."""
        ordered = sorted(fleets, key=lambda one: (one.created, one.name))
        self.fleets = {one.name: one for one in ordered}
        owners: dict[str, Fleet] = {}
        conflicts: defaultdict[str, list[Conflict]] = defaultdict(list)
        for fleet in ordered:
            for namespace in fleet.namespaces if fleet.cluster_set else ():
                owner = owners.setdefault(namespace, fleet)
                if owner.cluster_set != fleet.cluster_set:
                    conflicts[fleet.name].append(Conflict(namespace, owner.name, owner.cluster_set))
        self.conflicts = {name: tuple(found) for name, found in conflicts.items()}
        self.cluster_sets = {namespace: fleet.cluster_set for namespace, fleet in owners.items()}
        self.held = frozenset(each for one in ordered if one.faults for each in one.namespaces)
        changed: set[Place] = set()
        for path in (*self._members, *(path for path in self._wanted if path not in self._members)):
            changed |= self._select(path)
        return changed

    def _select(self, path: str) -> set[Place]:
        labels = self._members.get(path)
        selected = frozenset(
            name
            for name, fleet in self.fleets.items()
            if labels is not None and not fleet.faults and fleet.selects(path, labels)
        )
        before = self._selected.pop(path, frozenset())
        if selected:
            self._selected[path] = selected
        for name in before - selected:
            self._counts[name] -= 1
        for name in selected - before:
            self._counts[name] += 1
        wanted = frozenset(each for name in selected for each in self.published_into(self.fleets[name]))
        had = self._wanted.pop(path, frozenset())
        if wanted:
            self._wanted[path] = wanted
        return {(namespace, path) for namespace in wanted ^ had}
