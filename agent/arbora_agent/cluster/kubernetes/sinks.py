"""What the watches of nodes, pods and our own objects feed: three sinks.

For: `cluster.py`. No I/O. Each sink trims an object the moment it arrives and keeps nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from arbora.capacity.node import NodeShape, read_node
from arbora.capacity.pod import PodUse, read_pod
from arbora.errors import InvalidInput
from arbora.kubernetes.reflector import Raw
from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.kubernetes.ledger import Ledger, PodOrigin, read_origin
from arbora_agent.cluster.kubernetes.owned import OwnedObjects, read_owned
from arbora_agent.cluster.port import LABEL_WORKLOAD, OwnedObject

log = structlog.get_logger(__name__)

POD_SELECTOR = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
"""Finished pods hold nothing; the API server reports a pod that finishes as deleted from this selection."""


class NodeSink:
    """Nodes into the ledger."""

    def __init__(self, ledger: Ledger, on_change: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_change = on_change
        self._listed: list[NodeShape] = []

    def begin(self) -> None:
        """Start a list."""
        self._listed = []

    def page(self, items: Sequence[Raw]) -> None:
        """Trim one page."""
        self._listed += [shape for item in items if (shape := _node(item)) is not None]

    def end(self, resource_version: str) -> None:
        """Replace what was known."""
        listed, self._listed = self._listed, []
        if self._ledger.replace_nodes(listed):
            self._on_change()

    def put(self, item: Raw) -> None:
        """One node appeared or changed."""
        shape = _node(item)
        if shape is not None and self._ledger.put_node(shape):
            self._on_change()

    def remove(self, item: Raw) -> None:
        """One node left."""
        if self._ledger.remove_node(item["metadata"]["name"]):
            self._on_change()


class PodSink:
    """Unfinished pods into the ledger."""

    def __init__(self, ledger: Ledger, on_change: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_change = on_change
        self._listed: dict[str, PodUse] = {}
        self._origins: dict[str, PodOrigin] = {}

    def begin(self) -> None:
        """Start a list."""
        self._listed, self._origins = {}, {}

    def page(self, items: Sequence[Raw]) -> None:
        """Trim one page."""
        for item in items:
            use, key = _pod(item), _pod_key(item)
            if use is not None:
                self._listed[key] = use
                if use.gpus:
                    self._origins[key] = read_origin(item, LABEL_WORKLOAD)

    def end(self, resource_version: str) -> None:
        """Replace what was known."""
        listed, self._listed = self._listed, {}
        origins, self._origins = self._origins, {}
        if self._ledger.replace_pods(listed, origins):
            self._on_change()

    def put(self, item: Raw) -> None:
        """One pod appeared or changed."""
        if self._ledger.put_pod(_pod_key(item), _pod(item), read_origin(item, LABEL_WORKLOAD)):
            self._on_change()

    def remove(self, item: Raw) -> None:
        """One pod finished or is gone."""
        if self._ledger.put_pod(_pod_key(item), None):
            self._on_change()


class OwnedSink:
    """Our objects of one kind."""

    def __init__(self, objects: OwnedObjects, gvk: Gvk, on_change: Callable[[ObjectRef, str], None]) -> None:
        self._objects = objects
        self._gvk = gvk
        self._on_change = on_change
        self._listed: list[OwnedObject] = []

    def begin(self) -> None:
        """Start a list."""
        self._listed = []

    def page(self, items: Sequence[Raw]) -> None:
        """Trim one page."""
        self._listed += [owned for item in items if (owned := read_owned(item, self._gvk)) is not None]

    def end(self, resource_version: str) -> None:
        """Replace what was known of this kind."""
        listed, self._listed = self._listed, []
        kind = (self._gvk.group, self._gvk.kind)
        for told in self._objects.replace(kind, listed, resource_version):
            self._on_change(*told)

    def put(self, item: Raw) -> None:
        """One object appeared or changed."""
        owned = read_owned(item, self._gvk)
        for told in self._objects.put(owned) if owned else ():
            self._on_change(*told)

    def remove(self, item: Raw) -> None:
        """One object is gone, or no longer ours."""
        metadata = item["metadata"]
        ref = ObjectRef(self._gvk, metadata.get("namespace", ""), metadata["name"])
        for told in self._objects.remove(ref, metadata["resourceVersion"]):
            self._on_change(*told)


def _node(item: Raw) -> NodeShape | None:
    try:
        return read_node(item)
    except InvalidInput as error:
        log.warning("node_unreadable", node=item["metadata"]["name"], why=str(error))
        return None


def _pod(item: Raw) -> PodUse | None:
    try:
        return read_pod(item)
    except InvalidInput as error:
        log.warning("pod_unreadable", pod=_pod_key(item), why=str(error))
        return None


def _pod_key(item: Raw) -> str:
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"
