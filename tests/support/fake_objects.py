"""Objects of an API server in memory, for tests of the hub's controllers: versions, uids, finalizers, owners.

Feeds the collections that a test gives it, as watches would, but at once.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

from arbora.kubernetes.discovery import Resource
from arbora.kubernetes.failures import ClusterUnavailable, ObjectRejected
from arbora_hub.kubernetes.collection import Collection, Key

Raw = Mapping[str, Any]


class FakeObjects:
    """Has the methods of `Objects`."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, Key], dict[str, Any]] = {}
        self.writes: list[tuple[str, str, str]] = []
        """Verb, kind and name of every write."""
        self._versions = itertools.count(1)
        self._collections: list[Collection] = []

    def feed(self, collection: Collection) -> Collection:
        """The collection hears of each change from now on."""
        self._collections.append(collection)
        return collection

    def of(self, kind: Resource, name: str, namespace: str = "") -> dict[str, Any] | None:
        """As it is stored."""
        return self.stored.get((kind.gvk.kind, (namespace, name)))

    async def get(self, kind: Resource, name: str, namespace: str = "") -> Raw | None:
        found = self.of(kind, name, namespace)
        return copy.deepcopy(found)

    async def create(self, kind: Resource, body: Raw) -> Raw | None:
        key = _key(body)
        if (kind.gvk.kind, key) in self.stored:
            return None
        made = copy.deepcopy(dict(body))
        made["metadata"] = {**made["metadata"], "uid": f"uid-{next(self._versions)}", "generation": 1}
        return self._store("create", kind, key, made)

    async def apply(
        self, kind: Resource, body: Raw, *, subresource: str = "", manager: str = "", force: bool = True
    ) -> Raw:
        key = _key(body)
        found = self.of(kind, key[1], key[0])
        if found is None:
            if subresource:
                raise ObjectRejected(f"{kind.gvk.kind} {key[1]} not found")
            made = await self.create(kind, body)
            assert made is not None
            return made
        if subresource:
            return self._store("status", kind, key, {**found, subresource: copy.deepcopy(body[subresource])})
        return self._store("apply", kind, key, _changed(found, {**found, **copy.deepcopy(dict(body))}))

    async def replace(self, kind: Resource, body: Raw) -> Raw:
        key = _key(body)
        found = self.of(kind, key[1], key[0])
        if found is None:
            raise ObjectRejected(f"{kind.gvk.kind} {key[1]} not found")
        version = body["metadata"].get("resourceVersion", found["metadata"]["resourceVersion"])
        if version != found["metadata"]["resourceVersion"]:
            raise ClusterUnavailable(f"{kind.gvk.kind} {key[1]}: conflict")
        return self._store("replace", kind, key, _changed(found, copy.deepcopy(dict(body))))

    async def merge(
        self, kind: Resource, name: str, patch: Raw, namespace: str = "", *, subresource: str = ""
    ) -> Raw | None:
        key = (namespace, name)
        found = self.of(kind, name, namespace)
        if found is None:
            return None
        merged = _merged(found, patch)
        if merged["metadata"].get("deletionTimestamp") and not merged["metadata"].get("finalizers"):
            self._forget("merge", kind, key)
            return merged
        return self._store("merge", kind, key, _changed(found, merged))

    async def delete(self, kind: Resource, name: str, namespace: str = "", *, uid: str = "") -> bool:
        found = self.of(kind, name, namespace)
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return False
        if found["metadata"].get("finalizers"):
            marked = {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
            self._store("delete", kind, (namespace, name), marked)
            return True
        self._forget("delete", kind, (namespace, name))
        return True

    def _store(self, verb: str, kind: Resource, key: Key, body: dict[str, Any]) -> Raw:
        before = self.stored.get((kind.gvk.kind, key))
        body["metadata"] = {**body["metadata"], "resourceVersion": str(next(self._versions))}
        if before is not None and _same(before, body):
            return copy.deepcopy(before)
        self.stored[(kind.gvk.kind, key)] = body
        self.writes.append((verb, kind.gvk.kind, key[1]))
        for collection in self._collections:
            if collection.kind.gvk.kind == kind.gvk.kind:
                collection.put(copy.deepcopy(body))
        return copy.deepcopy(body)

    def _forget(self, verb: str, kind: Resource, key: Key) -> None:
        gone = self.stored.pop((kind.gvk.kind, key))
        self.writes.append((verb, kind.gvk.kind, key[1]))
        for collection in self._collections:
            if collection.kind.gvk.kind == kind.gvk.kind:
                collection.remove(gone)


def _key(body: Raw) -> Key:
    return str(body["metadata"].get("namespace", "")), str(body["metadata"]["name"])


def _same(before: Raw, after: Raw) -> bool:
    unversioned = [
        {**each, "metadata": {key: value for key, value in each["metadata"].items() if key != "resourceVersion"}}
        for each in (before, after)
    ]
    return bool(unversioned[0] == unversioned[1])


def _changed(before: Raw, after: dict[str, Any]) -> dict[str, Any]:
    """`after` with what the API server keeps of `before`."""
    kept = {key: before["metadata"][key] for key in ("uid", "generation")}
    if before.get("spec") != after.get("spec"):
        kept["generation"] += 1
    after["metadata"] = {**after["metadata"], **kept}
    if "status" in before:
        after["status"] = before["status"]
    return after


def _merged(before: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(dict(before)) if isinstance(before, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
