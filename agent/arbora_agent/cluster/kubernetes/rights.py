"""The port `Rights` over the Kubernetes API.

For: `cluster.py`. Objects are created, never applied: what somebody else made is not to be changed. A deletion
carries the uid, so that what somebody made anew under the name stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbora.errors import ArboraError
from arbora.kubernetes.api import Answer, ApiServer
from arbora.kubernetes.discovery import Resource
from arbora.kubernetes.failures import failure
from arbora.manifests.objects import Gvk, Manifest, ObjectRef, ref_of
from arbora_agent.cluster.kubernetes.config_map import ConfigMap
from arbora_agent.cluster.port import FIELD_MANAGER
from arbora_agent.cluster.rights import (
    CLUSTER_ROLE_BINDING,
    GRANT_LEDGER,
    KINDS,
    LABEL_GRANT,
    NAMESPACE,
    ROLE_BINDING,
    Page,
    Standing,
)

PAGE = 500
"""Objects of one answer at most."""

_RESOURCES = {
    gvk: Resource(gvk, f"{gvk.kind.lower()}s", gvk != NAMESPACE and not gvk.kind.startswith("Cluster"))
    for gvk in KINDS
}
"""Every API server serves these so; asking for it would be one more thing that can fail."""


class KubernetesRights:
    """Over one API server; namespace: the agent's own."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._ledger = ConfigMap(api, namespace, GRANT_LEDGER)

    async def look(self, ref: ObjectRef) -> Standing | None:
        """The object as it is now. Raises ObjectRejected, ClusterUnavailable."""
        answer = await self._api.request("GET", _path(ref))
        if answer.status == 404:
            return None
        if not answer.ok:
            raise _failure(answer, ref)
        return Standing(str(answer.body["metadata"]["uid"]), answer.body)

    async def make(self, manifest: Manifest) -> Standing:
        """Create an object. Raises ObjectRejected, ClusterUnavailable."""
        ref = ref_of(manifest)
        answer = await self._api.request(
            "POST", _path(ref, collection=True), params={"fieldManager": FIELD_MANAGER}, body=manifest
        )
        if not answer.ok:
            raise _failure(answer, ref)
        return Standing(str(answer.body["metadata"]["uid"]), answer.body)

    async def remove(self, ref: ObjectRef, uid: str) -> None:
        """Delete exactly this object. Raises ObjectRejected, ClusterUnavailable."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        answer = await self._api.request("DELETE", _path(ref), body=options)
        # A conflict is the precondition: another object bears the name now, so ours is gone.
        if not answer.ok and answer.status not in (404, 409):
            raise _failure(answer, ref)

    async def bindings(self, grant: str) -> Mapping[ObjectRef, Standing]:
        """Bindings that carry our label with this value. Raises ObjectRejected, ClusterUnavailable."""
        found = {}
        for gvk in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
            proceed: str | None = ""
            while proceed is not None:
                items, proceed = await self._page(gvk, grant, proceed)
                for item in items:
                    metadata = item["metadata"]
                    body = {"apiVersion": gvk.api_version, "kind": gvk.kind, **item}
                    standing = Standing(str(metadata["uid"]), body)
                    # The API server reads the value as a part of a selector; here it is nothing but a value.
                    if standing.grant == grant:
                        found[ObjectRef(gvk, metadata.get("namespace", ""), metadata["name"])] = standing
        return found

    async def _page(self, gvk: Gvk, grant: str, proceed: str) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Some of the objects with our label, and where the rest goes on; None: there is no more."""
        params = {"labelSelector": f"{LABEL_GRANT}={grant}", "limit": str(PAGE)}
        answer = await self._api.request(
            "GET", _RESOURCES[gvk].path(), params={**params, "continue": proceed} if proceed else params
        )
        if not answer.ok:
            raise _failure(answer, f"{_RESOURCES[gvk].plural} of the grant {grant[:63]}")
        metadata = answer.body.get("metadata") or {}
        return answer.body.get("items") or (), metadata.get("continue") or None

    async def ledger(self) -> Page:
        """The ledger as it is now. Raises ObjectRejected, ClusterUnavailable."""
        return Page(*await self._ledger.read())

    async def write(self, page: Page, changes: Mapping[str, str | None]) -> Page:
        """Change keys of the ledger, if it is still at `page`. Raises ObjectRejected, ClusterUnavailable."""
        if page.version:
            return Page(*await self._ledger.change(changes, page.version))
        return Page(*await self._ledger.create(changes))


def _failure(answer: Answer, subject: object) -> ArboraError:
    error = failure(answer.status, answer.body, str(subject), answer.retry_after)
    if answer.status == 403:
        error.hint = (
            "Install the agent anew with `arbora agent manifest` and the same --allow options as it runs with."
        )
    return error


def _path(ref: ObjectRef, *, collection: bool = False) -> str:
    resource = _RESOURCES[Gvk(ref.gvk.api_version, ref.gvk.kind)]
    return resource.path(ref.namespace, "" if collection else ref.name)
