"""The objects of a simulated cluster as an API server keeps them: uids, resource versions, generations. No I/O.

For `simulation.py`. Whoever writes calls `apply` (our server-side apply) or `replace`/`patch`/`delete` (everybody
else); admission says no first, and every write that changes something is named in `drain()` once. Bodies are
replaced, never changed in place, so that readers may keep them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from arbora.errors import InvalidInput
from arbora.manifests.objects import Gvk, ObjectRef, ref_of
from arbora_agent.cluster.port import ANNOTATION_GENERATION, LABEL_WORKLOAD, ObjectRejected
from arbora_agent.cluster.simulated import admission, merging
from arbora_agent.cluster.simulated.kinds import (
    BUILT_IN,
    CRD,
    NAMESPACE,
    SERVICE_ACCOUNT,
    ServedKind,
    custom_kinds,
)

ADOPT_ANNOTATION = "arbora.dev/adopt"
"""`"true"` on somebody's object lets a workload take it over."""
PERMANENT_NAMESPACES = ("default", "kube-system", "kube-public")
"""Exist from the start and can't be deleted."""

_SERVER_WRITTEN = frozenset({"creationTimestamp", "deletionTimestamp", "generation", "resourceVersion", "uid"})


class Key(NamedTuple):
    """An object's place in the store. Versions of a kind are one place."""

    group: str
    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Stored:
    ref: ObjectRef
    body: dict[str, Any]
    applied: dict[str, Any] = field(default_factory=dict)
    """What our last apply said."""


def key_of(ref: ObjectRef) -> Key:
    """The place of `ref`."""
    return Key(ref.gvk.group, ref.gvk.kind, ref.namespace, ref.name)


class ObjectStore:
    """All objects of one cluster. `stamp` arguments are the present time, RFC 3339."""

    def __init__(self, cluster_uid: uuid.UUID, stamp: str) -> None:
        self._cluster_uid = cluster_uid
        self._objects: dict[Key, _Stored] = {}
        self._changed: dict[Key, None] = {}
        self._version = 0
        self._serial = 0
        for name in PERMANENT_NAMESPACES:
            self._write(ObjectRef(NAMESPACE, "", name), {"metadata": {"name": name}}, {}, stamp)

    def get(self, key: Key) -> Mapping[str, Any] | None:
        """The object as it is now."""
        found = self._objects.get(key)
        return found.body if found else None

    def ref(self, key: Key) -> ObjectRef:
        """The reference under which the object was last written. Raises KeyError."""
        return self._objects[key].ref

    def places(self) -> Iterator[Key]:
        """All places, oldest object first."""
        return iter(tuple(self._objects))

    def drain(self) -> tuple[Key, ...]:
        """The places that changed since the last call, in order of their first change."""
        changed, self._changed = tuple(self._changed), {}
        return changed

    def apply(self, manifest: Mapping[str, Any], workload_uid: str, generation: int, stamp: str) -> Key:
        """Server-side apply for a workload, conflicts taken over. Raises ObjectRejected."""
        ref = self.locate(manifest)
        desired = merging.fields_of(manifest)
        admission.check(ref, desired)
        metadata = desired["metadata"]
        metadata["name"] = ref.name
        if ref.namespace:
            metadata["namespace"] = ref.namespace
        metadata["labels"] = {**(metadata.get("labels") or {}), LABEL_WORKLOAD: workload_uid}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ANNOTATION_GENERATION: str(generation)}
        found = self._objects.get(key_of(ref))
        if found is not None:
            self._check_owner(found, workload_uid)
            self._write(ref, merging.apply(found.body, found.applied, desired), desired, stamp)
        else:
            self._write(ref, merging.fields_of(desired), desired, stamp)
        return key_of(ref)

    def replace(self, manifest: Mapping[str, Any], stamp: str) -> Key:
        """Somebody creates an object, or replaces what he may change of one. Raises ObjectRejected."""
        ref = self.locate(manifest)
        found = self._objects.get(key_of(ref))
        body = merging.fields_of(manifest)
        if ref.namespace:
            body["metadata"]["namespace"] = ref.namespace
        if found is not None and "status" in found.body:
            body["status"] = found.body["status"]
        self._write(ref, body, found.applied if found else {}, stamp)
        return key_of(ref)

    def patch(self, ref: ObjectRef, change: Mapping[str, Any], stamp: str) -> None:
        """Somebody merges `change` into an object; null removes. Raises ObjectRejected."""
        found = self._found(ref)
        self._write(found.ref, merging.merge_patch(found.body, change), found.applied, stamp)

    def set_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """A controller writes the status; the same status changes nothing."""
        found = self._objects[key]
        if found.body.get("status") != status:
            self._store(key, found.ref, {**found.body, "status": dict(status)}, found.applied)

    def delete(self, ref: ObjectRef, stamp: str, *, uid: str = "") -> None:
        """Delete an object, if it (still) has the uid `uid`; gone already is fine. Raises ObjectRejected.

        Finalizers hold it: it is marked, and goes as soon as they are patched away. A namespace takes what is in
        it along, a CustomResourceDefinition its objects.
        """
        found = self._objects.get(key_of(ref))
        if found is None or (uid and found.body["metadata"]["uid"] != uid):
            return
        if ref.gvk.kind == "Namespace" and ref.name in PERMANENT_NAMESPACES:
            raise ObjectRejected(f'namespaces "{ref.name}" is forbidden: this namespace may not be deleted')
        metadata = found.body["metadata"]
        if "deletionTimestamp" not in metadata:
            marked = {**found.body, "metadata": {**metadata, "deletionTimestamp": stamp}}
            self._store(key_of(ref), found.ref, marked, found.applied)
        for key in self._contents(found):
            if key in self._objects:
                self.delete(self._objects[key].ref, stamp)
        self._collect()

    def locate(self, manifest: Mapping[str, Any]) -> ObjectRef:
        """The reference under which the server would keep `manifest`. Raises ObjectRejected."""
        try:
            ref = ref_of(manifest)
        except InvalidInput as error:
            raise ObjectRejected(f"resource is invalid: {error}") from error
        served = self._served(ref.gvk)
        if not served.namespaced:
            if ref.namespace:
                why = "metadata.namespace: Forbidden: not allowed on this type"
                raise ObjectRejected(f'{ref.gvk.kind} "{ref.name}" is invalid: {why}')
            return ref
        located = ObjectRef(ref.gvk, ref.namespace or "default", ref.name)
        home = self.get(Key("", "Namespace", "", located.namespace))
        if home is None:
            raise ObjectRejected(f'namespaces "{located.namespace}" not found')
        if "deletionTimestamp" in home["metadata"] and key_of(located) not in self._objects:
            raise ObjectRejected(
                f'{served.plural} "{ref.name}" is forbidden: unable to create new content in namespace '
                f"{located.namespace} because it is being terminated"
            )
        return located

    def _served(self, gvk: Gvk) -> ServedKind:
        if gvk in BUILT_IN:
            return BUILT_IN[gvk]
        for key, stored in self._objects.items():
            if key.kind == CRD.kind:
                for custom, served in custom_kinds(stored.body):
                    if custom == gvk:
                        return served
        raise ObjectRejected(f"no kind {gvk.kind} of {gvk.api_version} in this cluster; install its CRD first")

    def _found(self, ref: ObjectRef) -> _Stored:
        found = self._objects.get(key_of(ref))
        if found is None:
            plural = self._served(ref.gvk).plural
            raise ObjectRejected(f'{plural} "{ref.name}" not found')
        return found

    @staticmethod
    def _check_owner(found: _Stored, workload_uid: str) -> None:
        metadata = found.body["metadata"]
        owner = metadata.get("labels", {}).get(LABEL_WORKLOAD, "")
        if owner == workload_uid:
            return
        if owner:
            raise ObjectRejected(
                f"{found.ref} belongs to workload {owner}",
                hint="Two workloads can't own the same object; rename one.",
            )
        if metadata.get("annotations", {}).get(ADOPT_ANNOTATION) != "true":
            raise ObjectRejected(
                f"{found.ref} exists and isn't managed by Arbora",
                hint=f'Delete it, or annotate it with {ADOPT_ANNOTATION}: "true" to hand it over.',
            )

    def _contents(self, found: _Stored) -> list[Key]:
        """What goes together with an object."""
        if found.ref.gvk.kind == "Namespace":
            return [key for key in self._objects if key.namespace == found.ref.name]
        kinds = {(gvk.group, gvk.kind) for gvk, _ in custom_kinds(found.body)} if found.ref.gvk == CRD else set()
        return [key for key in self._objects if (key.group, key.kind) in kinds]

    def _collect(self) -> None:
        """Remove what is marked and no longer held, contents before their namespace."""
        for key, stored in sorted(self._objects.items(), key=lambda each: not each[0].namespace):
            metadata = stored.body["metadata"]
            if "deletionTimestamp" in metadata and not metadata.get("finalizers") and not self._contents(stored):
                del self._objects[key]
                self._changed[key] = None

    def _write(self, ref: ObjectRef, body: dict[str, Any], applied: dict[str, Any], stamp: str) -> None:
        """Admit and store; a write that changes nothing leaves the resource version as it is."""
        key, before = key_of(ref), self._objects.get(key_of(ref))
        body["apiVersion"], body["kind"] = ref.gvk.api_version, ref.gvk.kind
        admission.check(ref, body)
        body = admission.with_defaults(ref, body, self._address())
        if before is not None:
            admission.check_change(ref, before.body, body)
            kept = {name: value for name, value in before.body["metadata"].items() if name in _SERVER_WRITTEN}
            changed = _content(body) != _content(before.body)
            kept["generation"] += changed
        else:
            self._serial += 1
            uid = str(uuid.uuid5(self._cluster_uid, f"{self._serial}/{'/'.join(key)}"))
            kept = {"uid": uid, "creationTimestamp": stamp, "generation": 1}
        body["metadata"] = {**body["metadata"], **kept}
        if before is not None and body == before.body:
            before.applied = applied
            return
        self._store(key, ref, body, applied)
        if before is None and ref.gvk == NAMESPACE:
            account = {"metadata": {"name": "default", "namespace": ref.name}}
            self._write(ObjectRef(SERVICE_ACCOUNT, ref.name, "default"), account, {}, stamp)
        if "deletionTimestamp" in body["metadata"]:
            self._collect()

    def _store(self, key: Key, ref: ObjectRef, body: dict[str, Any], applied: dict[str, Any]) -> None:
        self._version += 1
        body["metadata"] = {**body["metadata"], "resourceVersion": str(self._version)}
        self._objects[key] = _Stored(ref, body, applied)
        self._changed[key] = None

    def _address(self) -> str:
        return f"10.96.{self._serial // 250 % 250}.{self._serial % 250 + 1}"


def _content(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}
