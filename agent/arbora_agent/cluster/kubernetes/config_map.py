"""One ConfigMap of the agent's own namespace: read, and changed key by key.

For: what the adapter keeps in the cluster (`kinds.py`, `rights.py`), over the connection that it has. It is made
when it is written first, and so is the namespace, since an agent that runs outside the cluster has no manifest
that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbora.kubernetes.api import MERGE, Answer, ApiServer
from arbora.kubernetes.failures import failure
from arbora_agent.cluster.port import FIELD_MANAGER, ObjectRejected


class ConfigMap:
    """One ConfigMap. Its methods raise ObjectRejected, ClusterUnavailable."""

    def __init__(self, api: ApiServer, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"

    async def read(self) -> tuple[Mapping[str, str], str]:
        """Its data and its resource version; nothing and an empty version if it is not there."""
        answer = await self._api.request("GET", f"{self._collection}/{self._name}")
        return ({}, "") if answer.status == 404 else self._told(answer)

    async def change(self, data: Mapping[str, str | None], version: str = "") -> tuple[Mapping[str, str], str]:
        """Set keys, None removes, if it is (still) at `version`; empty: whatever it says. Makes it if need be."""
        metadata = {"metadata": {"resourceVersion": version}} if version else {}
        answer = await self._api.request(
            "PATCH",
            f"{self._collection}/{self._name}",
            params={"fieldManager": FIELD_MANAGER},
            body={**metadata, "data": data},
            content_type=MERGE,
        )
        return await self.create(data) if answer.status == 404 else self._told(answer)

    async def create(self, data: Mapping[str, str | None]) -> tuple[Mapping[str, str], str]:
        """Make it. One that is there is left alone and is ClusterUnavailable, as another try will find it."""
        kept = {key: value for key, value in data.items() if value is not None}
        record = {"kind": "ConfigMap", "metadata": {"name": self._name}, "data": kept}
        answer = await self._post(self._collection, record)
        if answer.status == 404:
            named = {"kind": "Namespace", "metadata": {"name": self._namespace}}
            made = await self._post("/api/v1/namespaces", named)
            if not made.ok and made.status != 409:
                raise ObjectRejected(
                    f"the agent's namespace {self._namespace} is missing",
                    hint=f"Create it: kubectl create namespace {self._namespace}",
                )
            answer = await self._post(self._collection, record)
        return self._told(answer)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        params = {"fieldManager": FIELD_MANAGER}
        return await self._api.request("POST", path, params=params, body={"apiVersion": "v1", **body})

    def _told(self, answer: Answer) -> tuple[Mapping[str, str], str]:
        if not answer.ok:
            subject = f"ConfigMap {self._namespace}/{self._name}"
            raise failure(answer.status, answer.body, subject, answer.retry_after)
        return answer.body.get("data") or {}, str(answer.body["metadata"]["resourceVersion"])
