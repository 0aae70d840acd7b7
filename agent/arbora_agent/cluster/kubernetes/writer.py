"""Writes objects: server-side apply and deletion, without ever touching what isn't ours.

For: `cluster.py`. An apply of an object that is in the cache is one request: it carries the known uid,
which the API server compares, so an object that somebody created anew under the name is never overwritten.
Only an object we don't know yet costs a look before. A deletion carries the uid, too.
Source: Kubernetes "Server-Side Apply"; preconditions of metadata.uid in apply and in DeleteOptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from arbora.errors import InvalidInput
from arbora.kubernetes.api import APPLY, METADATA_ONLY, Answer, ApiServer
from arbora.kubernetes.discovery import Discovery, Resource
from arbora.kubernetes.failures import failure, is_unknown_path
from arbora.manifests.objects import Manifest, ObjectRef, ref_of
from arbora_agent.cluster.kubernetes.owned import OwnedObjects, read_owned
from arbora_agent.cluster.port import (
    ANNOTATION_GENERATION,
    FIELD_MANAGER,
    LABEL_WORKLOAD,
    ClusterUnavailable,
    ObjectRejected,
    OwnedObject,
)

log = structlog.get_logger(__name__)

ANNOTATION_ADOPT = "arbora.dev/adopt"
"""Set to "true" on an object that somebody else made: a workload may take it over."""
ATTEMPTS = 4
"""Tries of one apply while the object changes hands under it."""

_SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")
"""Fields that only the API server writes; an exported manifest has them."""


class Writer:
    """Applies and deletes objects over one API server."""

    def __init__(self, api: ApiServer, discovery: Discovery, objects: OwnedObjects) -> None:
        self._api = api
        self._discovery = discovery
        self._objects = objects

    async def locate(self, manifest: Manifest) -> tuple[ObjectRef, Resource]:
        """The object that `manifest` means, and how its kind is served. Raises as `apply`."""
        try:
            ref = ref_of(manifest)
        except InvalidInput as error:
            raise ObjectRejected(str(error), hint=error.hint or "Correct the manifest.") from error
        resource = await self._discovery.resource(ref.gvk)
        namespace = (ref.namespace or "default") if resource.namespaced else ""
        return ObjectRef(ref.gvk, namespace, ref.name), resource

    async def apply(
        self, manifest: Manifest, ref: ObjectRef, resource: Resource, workload_uid: str, generation: int
    ) -> OwnedObject:
        """Apply `manifest` as `ref`. Raises ObjectRejected, ClusterUnavailable."""
        known = self._objects.get(ref)
        rediscovered = False
        for _ in range(ATTEMPTS):
            if known is None:
                uid = await self._look(ref, resource, workload_uid)
            else:
                _check_workload(ref, known.workload_uid, workload_uid)
                uid = known.uid
            body = desired(manifest, ref, workload_uid, generation, uid)
            # Without a uid nothing is there yet; whoever creates it now is not to be overwritten.
            params = {"fieldManager": FIELD_MANAGER, "force": "true" if uid else "false"}
            path = resource.path(ref.namespace, ref.name)
            answer = await self._api.request("PATCH", path, params=params, body=body, content_type=APPLY)
            if answer.ok:
                return _owned(answer, ref)
            if is_unknown_path(answer.status, answer.body) and not rediscovered:
                rediscovered = True
                self._discovery.forget(ref.gvk)
                resource = await self._discovery.resource(ref.gvk)
            elif answer.status != 409:
                raise failure(answer.status, answer.body, str(ref), answer.retry_after)
            known = None
        raise ClusterUnavailable(f"{ref} changes hands or vanishes all the time", hint="Who else manages it?")

    async def delete(self, target: OwnedObject) -> None:
        """Delete exactly `target`, in the background. Raises ObjectRejected, ClusterUnavailable."""
        resource = await self._discovery.any_version(target.ref.gvk)
        if resource is None:
            log.info("kind_gone", object=str(target.ref))
            return
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": target.uid},
            "propagationPolicy": "Background",
        }
        answer = await self._api.request(
            "DELETE", resource.path(target.ref.namespace, target.ref.name), body=options
        )
        # A conflict is the precondition: another object bears the name now, so ours is gone.
        if not answer.ok and answer.status not in (404, 409):
            raise failure(answer.status, answer.body, str(target.ref), answer.retry_after)

    async def _look(self, ref: ObjectRef, resource: Resource, workload_uid: str) -> str:
        """The uid of what is there under the name, or empty. Raises ObjectRejected if it isn't ours."""
        answer = await self._api.request("GET", resource.path(ref.namespace, ref.name), accept=METADATA_ONLY)
        if answer.status == 404:
            return ""
        if not answer.ok:
            raise failure(answer.status, answer.body, str(ref), answer.retry_after)
        metadata = answer.body["metadata"]
        owner = (metadata.get("labels") or {}).get(LABEL_WORKLOAD, "")
        adopt = (metadata.get("annotations") or {}).get(ANNOTATION_ADOPT) == "true"
        if owner:
            _check_workload(ref, owner, workload_uid)
        elif not adopt:
            raise ObjectRejected(
                f"{ref} exists and isn't managed by Arbora",
                hint=f"Delete it, or let Arbora take it over: annotate it with {ANNOTATION_ADOPT}=true.",
            )
        return str(metadata["uid"])


def desired(
    manifest: Manifest, ref: ObjectRef, workload_uid: str, generation: int, uid: str
) -> Mapping[str, Any]:
    """What is sent for `manifest`: with our label and annotation, for exactly the object `uid` if given."""
    written = manifest["metadata"]
    metadata = {key: value for key, value in written.items() if key not in _SERVERS_OWN}
    metadata["labels"] = {**(written.get("labels") or {}), LABEL_WORKLOAD: workload_uid}
    metadata["annotations"] = {**(written.get("annotations") or {}), ANNOTATION_GENERATION: str(generation)}
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    else:
        metadata.pop("namespace", None)
    if uid:
        metadata["uid"] = uid
    return {**manifest, "metadata": metadata}


def _check_workload(ref: ObjectRef, owner: str, workload_uid: str) -> None:
    if owner != workload_uid:
        raise ObjectRejected(
            f"{ref} belongs to workload {owner}",
            hint="Two workloads can't manage one object: rename it in one of them.",
        )


def _owned(answer: Answer, ref: ObjectRef) -> OwnedObject:
    owned = read_owned(answer.body, ref.gvk)
    if owned is None:
        raise ObjectRejected(
            f"{ref} was stored without the label {LABEL_WORKLOAD}",
            hint="An admission webhook removes it; exempt the agent's service account.",
        )
    return owned
