"""Which profiles there should be, and which member each stands for: Fleets, members and names put together.

    a Fleet, a member or a profile changed -> `Selection`, `Names` -> the keys that the publisher looks at

Decides in memory and at once, writes nothing. Which member a profile stands for is this module's own decision,
never read from the profile, as users can write there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.collection import Collection, Key
from arbora_hub.kubernetes.fleets.selection import Place, Selection
from arbora_hub.kubernetes.fleets.spec import Fleet, read_fleet
from arbora_hub.kubernetes.fleets.status import Standing
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.profiles.content import MANAGER_LABEL, PATH_ANNOTATION, is_ours
from arbora_hub.kubernetes.profiles.names import Names, plain_name
from arbora_hub.kubernetes.view import MemberView


@dataclass(frozen=True, slots=True)
class Show:
    """A profile that is to be there."""

    view: MemberView
    cluster_set: str


@dataclass(frozen=True, slots=True)
class Keep:
    """A profile of ours that stays, whose member is not known now or not asked for as things stand."""

    liveness: Liveness
    """The best that may be said of it."""
    api_healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """A profile of ours that nothing wants."""


Wish = Show | Keep | Remove | None
"""What is to become of one profile; None: it is no matter of ours."""


class Profiles:
    """The profiles of this hub, by namespace and name."""

    def __init__(
        self, manager: str, fleets: Collection, live: Collection, namespaces: Collection, members: Members
    ) -> None:
        self.manager = manager
        self.selection = Selection()
        self.names = Names()
        self.failures: dict[Key, str] = {}
        """Why a profile could not be written last time."""
        self.live = live
        self._fleets = fleets
        self._namespaces = namespaces
        self._members = members
        self._unnamed: dict[Place, str] = {}
        self._seen: dict[str, object] = {}
        """By path: what a profile shows of a member, as of the last look."""
        self._refused: dict[str, str] = {}
        """By namespace: why it does not have the labels of its ClusterSet."""
        self.ready = asyncio.Event()
        """Set once it is known which member each profile stands for; before, nothing may be concluded."""
        self._on_key: list[Callable[[Key], None]] = []
        self._on_fleet: list[Callable[[str], None]] = []
        members.on_change(self._member_changed)
        live.on_change(self._profile_changed)
        namespaces.on_change(self._namespace_changed)

    # what others ask

    def path_of(self, namespace: str, name: str) -> str | None:
        """The member, by its path from the root, that a profile of ours stands for; None: it is none of ours."""
        body = self.live.get(name, namespace)
        if body is not None and not is_ours(body, self.manager):
            return None
        return self.names.path_of(namespace, name)

    def on_change(self, callback: Callable[[str, str], None]) -> None:
        """Hear namespace and name of each profile that changed, or that stands for another member now. Must not
        block."""
        self._on_key.append(lambda key: callback(*key))

    def on_fleet(self, callback: Callable[[str], None]) -> None:
        """Hear the name of each Fleet whose standing may have changed. Must not block."""
        self._on_fleet.append(callback)

    def standing(self, fleet: Fleet) -> Standing | None:
        """How it stands with a Fleet; None: not known yet."""
        if not self.ready.is_set() or self.selection.fleets.get(fleet.name) != fleet:
            return None
        namespaces = [one for one in self.selection.published_into(fleet) if self.exists(one)]
        published = wanted = 0
        renamed, failures = [], []
        for view in self._members if namespaces else ():
            if fleet.name not in self.selection.fleets_of(view.path):
                continue
            for namespace in namespaces:
                wanted += 1
                name = self.names.name_of(namespace, view.path)
                if name is None:
                    failures.append(self._unnamed.get((namespace, view.path), f"{view.path} has no name yet"))
                    continue
                body = self.live.get(name, namespace)
                published += body is not None and is_ours(body, self.manager)
                if name != plain_name(view.path):
                    renamed.append(self._renamed(namespace, view.path, name))
                if (namespace, name) in self.failures:
                    failures.append(f"{namespace}/{name}: {self.failures[namespace, name]}")
        return Standing(
            members=self.selection.members_of(fleet.name),
            published=published,
            wanted=wanted,
            missing=tuple(one for one in fleet.namespaces if not self.exists(one)),
            conflicts=(
                *map(str, self.selection.conflicts.get(fleet.name, ())),
                *(self._refused[one] for one in fleet.namespaces if self._refused.get(one)),
            ),
            renamed=tuple(sorted(renamed)),
            failures=tuple(sorted(failures)),
        )

    def exists(self, namespace: str) -> bool:
        """Whether a namespace is there, and is to stay."""
        body = self._namespaces.get(namespace)
        return body is not None and "deletionTimestamp" not in body["metadata"]

    def wish(self, namespace: str, name: str) -> Wish:
        """What is to become of a profile."""
        if not self.ready.is_set() or not self.exists(namespace):
            return None
        path = self.names.path_of(namespace, name)
        body = self.live.get(name, namespace)
        ours = body is not None and is_ours(body, self.manager)
        if path is None:
            return self._leftover(namespace, body) if ours and body is not None else None
        if body is not None and not ours:
            return None
        view = self._members.get(path)
        cluster_set = self.selection.cluster_sets.get(namespace, "")
        held = namespace in self.selection.held
        if view is not None and cluster_set and (held or self.selection.wants(namespace, path)):
            return Show(view, cluster_set)
        if view is not None and held and body is not None:
            return Keep(view.liveness, view.api_healthy)
        unsure = self._members.unsure(path) if view is None else None
        if body is not None and unsure is not None and cluster_set:
            return Keep(unsure)
        return Remove()

    def gone(self, namespace: str, name: str) -> None:
        """A profile that nothing wants is not there any more."""
        path = self.names.path_of(namespace, name)
        if path is not None:
            self.names.release(namespace, path)
        self.names.forget(namespace, name)
        self.failures.pop((namespace, name), None)

    def refuse_set(self, namespace: str, why: str) -> None:
        """A namespace could not be labelled, for this reason; empty: it is."""
        if self._refused.get(namespace, "") != why:
            self._refused[namespace] = why
            self._tell_fleets_in(namespace)

    def fail(self, key: Key, why: str) -> bool:
        """A profile could not be written, for this reason; empty: it could. Returns whether that is news."""
        if self.failures.get(key, "") == why:
            return False
        if why:
            self.failures[key] = why
        else:
            del self.failures[key]
        self._tell_fleets_in(key[0])
        return True

    # what happens

    def begin(self, kept: dict[str, str]) -> None:
        """All that there is has been told. kept: decisions about names of an earlier process."""
        self.names = Names(kept)
        self.ready.set()
        for view in self._members:
            self.selection.put_member(view.path, view.labels)
        self.fleets_changed()
        for body in self.live:
            self._tell((str(body["metadata"]["namespace"]), str(body["metadata"]["name"])))

    def fleets_changed(self) -> None:
        """Read all Fleets anew."""
        if not self.ready.is_set():
            return
        before, fleets = self.selection.fleets, [read_fleet(body) for body in self._fleets]
        # most changes of a Fleet are those of its status, which this hub wrote itself
        if before != {fleet.name: fleet for fleet in fleets}:
            self._settle(self.selection.put_fleets(fleets))
            both = (*before.values(), *self.selection.fleets.values())
            for namespace in {each for fleet in both for each in fleet.namespaces}:
                self._look_at(namespace)
        for name in {*before, *self.selection.fleets}:
            self._tell_fleet(name)

    def _member_changed(self, path: str) -> None:
        if not self.ready.is_set():
            return
        before = self.selection.fleets_of(path)
        view = self._members.get(path)
        self._settle(self.selection.put_member(path, view.labels if view is not None else None))
        seen = _shown(view)
        if seen == self._seen.get(path):
            return
        self._seen[path] = seen
        if view is None:
            del self._seen[path]
        for namespace in self.selection.cluster_sets:
            name = self.names.name_of(namespace, path)
            if name is not None:
                self._tell((namespace, name))
        for fleet in before ^ self.selection.fleets_of(path):
            self._tell_fleet(fleet)

    def _profile_changed(self, key: Key) -> None:
        if not self.ready.is_set():
            return
        namespace, name = key
        path = self.names.path_of(namespace, name)
        if path is not None:
            self._settle({(namespace, path)})
        else:
            # one that stood in the way may be gone
            self._settle({place for place in self._unnamed if place[0] == namespace})
        self._tell(key)
        self._tell_fleets_in(namespace)

    def _namespace_changed(self, key: Key) -> None:
        if self.ready.is_set():
            self._look_at(key[1])
            self._tell_fleets_in(key[1])

    def _settle(self, places: Iterable[Place]) -> None:
        """Give names where they are wanted, and have the publisher look."""
        for namespace, path in sorted(places):
            self._unnamed.pop((namespace, path), None)
            before = self.names.name_of(namespace, path)
            name = before
            if self.selection.wants(namespace, path):
                name = self.names.assign(namespace, path, *self._taken(namespace, path))
                if name is None:
                    self._unnamed[namespace, path] = f"every name for {path} in {namespace} is taken by others"
            for each in {before, name} - {None}:
                self._tell((namespace, str(each)))

    def _taken(self, namespace: str, path: str) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
        def foreign(name: str) -> bool:
            body = self.live.get(name, namespace)
            return body is not None and not is_ours(body, self.manager)

        def reserved(name: str) -> bool:
            body = self.live.get(name, namespace)
            other = _annotated(body)
            if body is None or not other or other == path or plain_name(other) != plain_name(path):
                return False
            return self._members.get(other) is None and self._members.unsure(other) is not None

        return foreign, reserved

    def _leftover(self, namespace: str, body: Any) -> Wish:
        """A profile of ours whose name no member was given: from before this process, or from somebody else.

        Whom it says it stands for may have been written by anybody, and only decides whether it is kept for now.
        """
        if body["metadata"].get("labels", {}).get(MANAGER_LABEL) != self.manager:
            return None
        path = _annotated(body)
        view = self._members.get(path) if path else None
        unsure = self._members.unsure(path) if path and view is None else None
        if namespace in self.selection.held:
            return Keep(view.liveness, view.api_healthy) if view is not None else Keep(unsure or Liveness.SUSPECT)
        if unsure is not None and namespace in self.selection.cluster_sets:
            return Keep(unsure)
        return Remove()

    def _renamed(self, namespace: str, path: str, name: str) -> str:
        plain = plain_name(path)
        body = self.live.get(plain, namespace)
        other = self.names.path_of(namespace, plain)
        if body is not None and not is_ours(body, self.manager):
            manager = ((body.get("spec") or {}).get("clusterManager") or {}).get("name", "")
            why = f"{plain} belongs to the manager {str(manager)[:63]!r}"
        else:
            why = f"{plain} stands for {other}" if other else f"{plain} stood for another one"
        return f"{path} is {name} in {namespace}, as {why}"

    def _look_at(self, namespace: str) -> None:
        for body in self.live:
            if body["metadata"].get("namespace") == namespace:
                self._tell((namespace, str(body["metadata"]["name"])))
        for key in self.names:
            if key[0] == namespace:
                self._tell(key)

    def _tell(self, key: Key) -> None:
        for callback in self._on_key:
            callback(key)

    def _tell_fleet(self, name: str) -> None:
        for callback in self._on_fleet:
            callback(name)

    def _tell_fleets_in(self, namespace: str) -> None:
        for fleet in self.selection.fleets.values():
            if namespace in fleet.namespaces:
                self._tell_fleet(fleet.name)


def _shown(view: MemberView | None) -> object:
    """What there is of a member in a profile: free GPUs change all the time, and are not."""
    if view is None:
        return None
    totals = tuple((one.gpu_class, one.total) for one in view.gpus)
    return view.liveness, view.labels, view.cluster_uid, totals, view.api_healthy, view.digest, view.facts


def _annotated(body: Any) -> str:
    if body is None:
        return ""
    return str((body["metadata"].get("annotations") or {}).get(PATH_ANNOTATION, ""))
