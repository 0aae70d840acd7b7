"""Which kinds this agent ever applied, recorded in the cluster.

For: `cluster.py`, which watches exactly these kinds for our label, so that an agent that starts anew finds
everything it owns, whatever kinds that was. The record is a ConfigMap in the agent's own namespace and is
written before the first apply of a kind, never after: a crash in between leaves a kind too many, which
costs one watch.
Source of the idea: ApplySet, KEP-3659.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from arbora.kubernetes.api import MERGE, Answer, ApiServer
from arbora.kubernetes.failures import failure
from arbora.manifests.objects import Gvk
from arbora_agent.cluster.port import FIELD_MANAGER, ObjectRejected

log = structlog.get_logger(__name__)

CONFIG_MAP = "arbora-applied-kinds"
MAX_KINDS = 500
"""Kinds that are recorded at most; each costs a watch."""


class AppliedKinds:
    """The record: keys `Kind.group` (or `Kind`), values the version each was first applied in."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._path = f"{self._collection}/{CONFIG_MAP}"

    async def load(self) -> list[Gvk]:
        """The kinds recorded so far. Raises ObjectRejected, ClusterUnavailable."""
        answer = await self._api.request("GET", self._path)
        if answer.status == 404:
            return []
        if not answer.ok:
            raise failure(answer.status, answer.body, self._subject)
        return read_kinds(answer.body.get("data") or {})

    async def record(self, gvk: Gvk) -> None:
        """Add a kind; it is stored on return. Raises ObjectRejected, ClusterUnavailable."""
        data = {kind_key(gvk): gvk.version}
        answer = await self._api.request(
            "PATCH",
            self._path,
            params={"fieldManager": FIELD_MANAGER},
            body={"data": data},
            content_type=MERGE,
        )
        if answer.status == 404:
            answer = await self._create(data)
        if not answer.ok:
            raise failure(answer.status, answer.body, self._subject)
        log.info("kind_recorded", kind=str(gvk))

    async def _create(self, data: Mapping[str, str]) -> Answer:
        record = {"kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": data}
        answer = await self._post(self._collection, record)
        if answer.status != 404:
            return answer
        # An agent that runs outside the cluster has no manifest that made its namespace.
        made = await self._post(
            "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": self._namespace}}
        )
        if not made.ok and made.status != 409:
            raise ObjectRejected(
                f"the agent's namespace {self._namespace} is missing",
                hint=f"Create it: kubectl create namespace {self._namespace}",
            )
        return await self._post(self._collection, record)

    async def _post(self, path: str, body: Mapping[str, object]) -> Answer:
        return await self._api.request("POST", path, body={"apiVersion": "v1", **body})

    @property
    def _subject(self) -> str:
        return f"ConfigMap {self._namespace}/{CONFIG_MAP}"


def kind_key(gvk: Gvk) -> str:
    """The key under which a kind is recorded, version left out."""
    return f"{gvk.kind}.{gvk.group}" if gvk.group else gvk.kind


def read_kinds(data: Mapping[str, str]) -> list[Gvk]:
    """The kinds in a record, sorted; what can't be one is left out and logged."""
    kinds = []
    for key, version in sorted(data.items())[:MAX_KINDS]:
        kind, _, group = key.partition(".")
        if not kind or not version or "/" in version:
            log.warning("kind_unreadable", key=key)
            continue
        kinds.append(Gvk(f"{group}/{version}" if group else version, kind))
    return kinds
