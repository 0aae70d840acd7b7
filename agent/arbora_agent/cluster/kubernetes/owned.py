"""The objects that carry our label, as watches and our own applies last showed them.

For: `cluster.py`. No I/O. Two sources write here, so each object is ordered by its resourceVersion: a watch
event that is older than what an apply returned is ignored. An object is known by group, kind, namespace and
name; the version in its reference is the one it was applied in, which the API server remembers in
managedFields.
Source: KEP-5504, resource versions are comparable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.port import ANNOTATION_GENERATION, FIELD_MANAGER, LABEL_WORKLOAD, OwnedObject

Key = tuple[str, str, str, str]
"""Group, kind, namespace, name."""
GroupKind = tuple[str, str]
MAX_GONE = 1024
"""Deletions remembered; an answer to an apply is late by milliseconds."""


def read_owned(body: Mapping[str, Any], gvk: Gvk) -> OwnedObject | None:
    """The object in `body`, which was read as `gvk`; None if it doesn't carry our label.

    Items of a list don't name their kind, so `gvk` does.
    """
    metadata = body["metadata"]
    workload_uid = (metadata.get("labels") or {}).get(LABEL_WORKLOAD)
    if not workload_uid:
        return None
    generation = (metadata.get("annotations") or {}).get(ANNOTATION_GENERATION, "")
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return OwnedObject(
        ref=ObjectRef(
            Gvk(_applied_version(metadata) or gvk.api_version, gvk.kind),
            metadata.get("namespace", ""),
            metadata["name"],
        ),
        workload_uid=workload_uid,
        generation=int(generation) if generation.isascii() and generation.isdigit() else 0,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        body={"apiVersion": gvk.api_version, "kind": gvk.kind, **body, "metadata": kept},
    )


def is_older(one: str, other: str) -> bool:
    """Whether resourceVersion `one` is before `other`; false where they can't be compared."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)


class OwnedObjects:
    """All objects of ours, by key and by workload."""

    def __init__(self) -> None:
        self._objects: dict[Key, OwnedObject] = {}
        self._by_workload: dict[str, set[Key]] = {}
        self._by_name: dict[tuple[str, str, str], Key] = {}
        """By kind, namespace and name; of two groups that have a kind of one name, the newest."""
        self._gone: dict[Key, str] = {}

    def get(self, ref: ObjectRef) -> OwnedObject | None:
        """The object under this name in any version of its kind."""
        return self._objects.get(_key(ref))

    def of(self, workload_uid: str) -> Sequence[OwnedObject]:
        """The objects of one workload, in the order of their references."""
        found = [self._objects[key] for key in self._by_workload.get(workload_uid, ())]
        return tuple(sorted(found, key=lambda each: each.ref))

    def workload_of(self, kind: str, namespace: str, name: str, uid: str = "") -> str:
        """The workload whose object this is, in any group; empty if it is none of ours.

        uid: must be the object's, where it is given.
        """
        key = self._by_name.get((kind, namespace, name))
        found = None if key is None else self._objects.get(key)
        return "" if found is None or (uid and found.uid != uid) else found.workload_uid

    def workloads(self) -> frozenset[str]:
        """Uids of all workloads that have objects."""
        return frozenset(self._by_workload)

    def put(self, seen: OwnedObject) -> list[tuple[ObjectRef, str]]:
        """Keep what was seen unless something newer is known; who is to be told: (reference, workload)."""
        key = _key(seen.ref)
        known = self._objects.get(key)
        if is_older(seen.resource_version, self._gone.get(key, "")):
            return []
        if known is not None:
            if known.resource_version == seen.resource_version and known.uid == seen.uid:
                return []
            if is_older(seen.resource_version, known.resource_version):
                return []
        told = [(seen.ref, seen.workload_uid)]
        if known is not None and known.workload_uid != seen.workload_uid:
            self._forget(key, known)
            told.append((known.ref, known.workload_uid))
        self._objects[key] = seen
        self._by_name[key[1], key[2], key[3]] = key
        self._gone.pop(key, None)
        self._by_workload.setdefault(seen.workload_uid, set()).add(key)
        return told

    def remove(self, ref: ObjectRef, resource_version: str) -> list[tuple[ObjectRef, str]]:
        """The object was deleted (or lost our label) at `resource_version`; who is to be told."""
        key = _key(ref)
        known = self._objects.get(key)
        if known is not None and is_older(resource_version, known.resource_version):
            return []
        self._bury(key, resource_version)
        if known is None:
            return []
        self._forget(key, known)
        return [(known.ref, known.workload_uid)]

    def replace(
        self, kind: GroupKind, seen: Iterable[OwnedObject], resource_version: str
    ) -> list[tuple[ObjectRef, str]]:
        """These are all our objects of one kind as of `resource_version`; who is to be told.

        What was applied after that is kept.
        """
        told = []
        named = set()
        for each in seen:
            named.add(_key(each.ref))
            told += self.put(each)
        for key in [key for key in self._objects if key[:2] == kind and key not in named]:
            told += self.remove(self._objects[key].ref, resource_version)
        return told

    def _bury(self, key: Key, resource_version: str) -> None:
        """Remember a deletion: the answer to an apply may arrive after the news that its object is gone."""
        if not is_older(resource_version, self._gone.get(key, "")):
            self._gone[key] = resource_version
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]

    def _forget(self, key: Key, known: OwnedObject) -> None:
        del self._objects[key]
        if self._by_name.get((key[1], key[2], key[3])) == key:
            del self._by_name[key[1], key[2], key[3]]
        keys = self._by_workload[known.workload_uid]
        keys.discard(key)
        if not keys:
            del self._by_workload[known.workload_uid]


def _key(ref: ObjectRef) -> Key:
    return (ref.gvk.group, ref.gvk.kind, ref.namespace, ref.name)


def _applied_version(metadata: Mapping[str, Any]) -> str:
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            return str(entry.get("apiVersion", ""))
    return ""
