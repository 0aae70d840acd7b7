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

from arbora.kubernetes.api import ApiServer
from arbora.manifests.objects import Gvk
from arbora_agent.cluster.kubernetes.config_map import ConfigMap

log = structlog.get_logger(__name__)

CONFIG_MAP = "arbora-applied-kinds"
MAX_KINDS = 500
"""Kinds that are recorded at most; each costs a watch."""


class AppliedKinds:
    """The record: keys `Kind.group` (or `Kind`), values the version each was first applied in."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._record = ConfigMap(api, namespace, CONFIG_MAP)

    async def load(self) -> list[Gvk]:
        """The kinds recorded so far. Raises ObjectRejected, ClusterUnavailable."""
        data, _ = await self._record.read()
        return read_kinds(data)

    async def record(self, gvk: Gvk) -> None:
        """Add a kind; it is stored on return. Raises ObjectRejected, ClusterUnavailable."""
        await self._record.change({kind_key(gvk): gvk.version})
        log.info("kind_recorded", kind=str(gvk))


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
