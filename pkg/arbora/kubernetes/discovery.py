"""From a kind to the path under which the API server serves it.

For: `cluster.py` and `kinds.py`. Answers are cached per API version; a kind that is not in the cache is
asked for once more, and for a few seconds where its CustomResourceDefinition was applied by us a moment
ago, since the API server needs a moment to serve it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.failures import ObjectRejected, failure
from arbora.manifests.objects import Gvk

CRD_GRACE = 5.0
"""Seconds that a kind whose CRD was just applied may take to appear."""
CRD_POLL = 0.1
MAX_CACHED_VERSIONS = 256
"""API versions kept; clusters with many CRDs have about a hundred."""


@dataclass(frozen=True, slots=True)
class Resource:
    """How one kind is served."""

    gvk: Gvk
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of an object, or of the whole collection without a name. Names are quoted."""
        root = f"/apis/{self.gvk.group}/{self.gvk.version}" if self.gvk.group else f"/api/{self.gvk.version}"
        inside = f"/namespaces/{segment(namespace)}" if namespace and self.namespaced else ""
        rest = f"/{segment(name)}" if name else ""
        return f"{root}{inside}/{self.plural}{rest}{f'/{subresource}' if subresource else ''}"


class Discovery:
    """What this API server serves, asked once per API version."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._served: dict[str, dict[str, Resource]] = {}
        self._expected: dict[tuple[str, str], float] = {}

    async def resource(self, gvk: Gvk) -> Resource:
        """How `gvk` is served. Raises ObjectRejected if it isn't, ClusterUnavailable."""
        found = await self._look_up(gvk)
        while found is None and self._is_expected(gvk):
            await asyncio.sleep(CRD_POLL)
            found = await self._look_up(gvk)
        if found is None:
            raise ObjectRejected(
                f"no kind {gvk.kind} in {gvk.api_version} in this cluster", hint="Install its CRD first."
            )
        return found

    async def any_version(self, gvk: Gvk) -> Resource | None:
        """How the kind is served in any version, the given one first; None if it isn't."""
        found = await self._look_up(gvk)
        if found is not None or not gvk.group:
            return found
        answer = await self._api.request("GET", f"/apis/{segment(gvk.group)}")
        if not answer.ok and answer.status not in (403, 404):
            raise failure(answer.status, answer.body, f"discovery of {gvk.group}")
        for version in answer.body.get("versions") or ():
            found = await self._look_up(Gvk(version["groupVersion"], gvk.kind))
            if found is not None:
                return found
        return None

    def forget(self, gvk: Gvk) -> None:
        """The API server says that it doesn't serve this path: ask again next time."""
        self._served.pop(gvk.api_version, None)

    def expect(self, group: str, kind: str) -> None:
        """A CRD for this kind was just applied."""
        self._expected[(group, kind)] = time.monotonic() + CRD_GRACE

    def _is_expected(self, gvk: Gvk) -> bool:
        until = self._expected.get((gvk.group, gvk.kind))
        if until is None:
            return False
        if time.monotonic() < until:
            return True
        del self._expected[(gvk.group, gvk.kind)]
        return False

    async def _look_up(self, gvk: Gvk) -> Resource | None:
        known = self._served.get(gvk.api_version, {}).get(gvk.kind)
        return known or (await self._ask(gvk)).get(gvk.kind)

    async def _ask(self, gvk: Gvk) -> dict[str, Resource]:
        group, version = segment(gvk.group), segment(gvk.version)
        answer = await self._api.request("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        if answer.status == 404:
            self._served.pop(gvk.api_version, None)
            return {}
        if not answer.ok:
            raise failure(answer.status, answer.body, f"discovery of {gvk.api_version}")
        if len(self._served) >= MAX_CACHED_VERSIONS:
            self._served.clear()
        served = self._served[gvk.api_version] = _read(gvk.api_version, answer.body)
        return served


def _read(api_version: str, body: Mapping[str, Any]) -> dict[str, Resource]:
    kinds = {}
    for each in body.get("resources") or ():
        # Names with a slash are subresources, whose kinds belong elsewhere.
        if "/" not in each["name"]:
            kinds[each["kind"]] = Resource(Gvk(api_version, each["kind"]), each["name"], bool(each["namespaced"]))
    return kinds


def segment(text: str) -> str:
    """One path segment. Raises ObjectRejected for what would reach another place.

    The API server reads a quoted slash as a slash, so quoting alone is no protection; the rule is its own
    (ValidatePathSegmentName).
    """
    wrong = next((mark for mark in ("/", "%") if mark in text), text if text in (".", "..") else "")
    if wrong:
        verb = "be" if wrong == text else "contain"
        raise ObjectRejected(
            f'invalid name {text[:253]!r}: may not {verb} "{wrong}"', hint="Correct the manifest."
        )
    return quote(text, safe="")
