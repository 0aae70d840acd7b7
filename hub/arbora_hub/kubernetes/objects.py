"""Reads and writes objects of the API server that the hub has its face in.

Objects are dicts, as they are on the wire. Writes are server-side apply under our own field manager, or exact
(create, delete with the uid as a precondition), so that nothing of others is taken over by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbora.kubernetes.api import APPLY, MERGE, Answer, ApiServer
from arbora.kubernetes.discovery import Resource
from arbora.kubernetes.failures import failure
from arbora_hub.kubernetes.kinds import MANAGER

Raw = Mapping[str, Any]


class Objects:
    """One API server. Every method raises ObjectRejected (its own words) and ClusterUnavailable."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def get(self, kind: Resource, name: str, namespace: str = "") -> Raw | None:
        """The object; None: there is none."""
        answer = await self._api.request("GET", kind.path(namespace, name))
        return None if answer.status == 404 else _good(answer, kind, namespace, name)

    async def create(self, kind: Resource, body: Raw) -> Raw | None:
        """A new object, as it is then; None: there is one of that name already."""
        name, namespace = _named(body)
        answer = await self._api.request(
            "POST",
            kind.path(namespace),
            params={"fieldManager": MANAGER},
            body={"apiVersion": kind.gvk.api_version, "kind": kind.gvk.kind, **body},
        )
        if answer.status == 409 and answer.body.get("reason") == "AlreadyExists":
            return None
        return _good(answer, kind, namespace, name)

    async def apply(
        self, kind: Resource, body: Raw, *, subresource: str = "", manager: str = MANAGER, force: bool = True
    ) -> Raw:
        """Server-side apply: what `body` says is ours, the rest is left alone. A repeat changes nothing.

        With metadata.uid it only ever meets that very object. force: conflicts are taken over.
        """
        name, namespace = _named(body)
        answer = await self._api.request(
            "PATCH",
            kind.path(namespace, name, subresource),
            params={"fieldManager": manager, "force": "true" if force else "false"},
            body={"apiVersion": kind.gvk.api_version, "kind": kind.gvk.kind, **body},
            content_type=APPLY,
        )
        return _good(answer, kind, namespace, name)

    async def replace(self, kind: Resource, body: Raw) -> Raw:
        """Put `body` in the place of what is there. With uid and resourceVersion only of that state."""
        name, namespace = _named(body)
        answer = await self._api.request(
            "PUT",
            kind.path(namespace, name),
            params={"fieldManager": MANAGER},
            body={"apiVersion": kind.gvk.api_version, "kind": kind.gvk.kind, **body},
        )
        return _good(answer, kind, namespace, name)

    async def merge(
        self, kind: Resource, name: str, patch: Raw, namespace: str = "", *, subresource: str = ""
    ) -> Raw | None:
        """Merge patch; None: there is no such object. With metadata.resourceVersion, of that version only."""
        answer = await self._api.request(
            "PATCH",
            kind.path(namespace, name, subresource),
            params={"fieldManager": MANAGER},
            body=patch,
            content_type=MERGE,
        )
        return None if answer.status == 404 else _good(answer, kind, namespace, name)

    async def delete(self, kind: Resource, name: str, namespace: str = "", *, uid: str = "") -> bool:
        """Delete it, only the one with `uid` where that is given; False: it was not there (any more)."""
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        answer = await self._api.request("DELETE", kind.path(namespace, name), body=body)
        # A conflict means that another one stands there by now.
        if answer.status == 404 or (uid and answer.status == 409):
            return False
        _good(answer, kind, namespace, name)
        return True


def _named(body: Raw) -> tuple[str, str]:
    metadata = body["metadata"]
    return str(metadata["name"]), str(metadata.get("namespace", ""))


def _good(answer: Answer, kind: Resource, namespace: str, name: str) -> Raw:
    if not answer.ok:
        where = f"{namespace}/{name}" if namespace else name
        raise failure(answer.status, answer.body, f"{kind.gvk.kind} {where}", answer.retry_after)
    return answer.body
