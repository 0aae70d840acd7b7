"""One kind mirrored in memory, with callbacks for what changed.

    Reflector (list, watch, for ever) -> Collection -> whoever subscribed hears the key

A kind that is not served (its CRD is missing), or that we may not list, is `refused` and empty until it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.discovery import Resource
from arbora.kubernetes.reflector import Reflector

Raw = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace (empty for kinds without) and name."""


class Collection:
    """The objects of one kind, as last seen; without managedFields."""

    def __init__(self, api: ApiServer, kind: Resource, *, namespace: str = "", selector: str = "") -> None:
        """namespace: only this one. selector: only objects with these labels."""
        self.kind = kind
        self._objects: dict[Key, Raw] = {}
        self._listed: set[Key] = set()
        self._callbacks: list[Callable[[Key], None]] = []
        self.filled = asyncio.Event()
        """Set once the API server has told all of it. Unlike `synced`, never by a refusal: what is not known to
        be missing must not be taken for missing."""

        async def path() -> str:
            return kind.path(namespace)

        self._reflector = Reflector(
            api, kind.plural, path, self, selector={"labelSelector": selector} if selector else None
        )

    def on_change(self, callback: Callable[[Key], None]) -> None:
        """Hear the key of each object that appeared, changed or went away. Must not block."""
        self._callbacks.append(callback)

    def get(self, name: str, namespace: str = "") -> Raw | None:
        """The object as last seen."""
        return self._objects.get((namespace, name))

    def __iter__(self) -> Iterator[Raw]:
        return iter(tuple(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    async def synced(self) -> None:
        """Return once it was filled, or is known not to be served."""
        await self._reflector.synced.wait()

    @property
    def refused(self) -> bool:
        """Whether the API server would not tell, as we may not ask or it does not serve the kind."""
        return self._reflector.synced.is_set() and not self.filled.is_set()

    async def run(self) -> None:
        """Mirror until cancelled."""
        await self._reflector.run()

    # Sink

    def begin(self) -> None:
        """A list starts."""
        self._listed = set()

    def page(self, items: Sequence[Raw]) -> None:
        """Some of its objects."""
        for item in items:
            self._listed.add(key_of(item))
            # Whatever the version: they go back when etcd is restored from a backup.
            self._keep(item)

    def end(self, resource_version: str) -> None:
        """The list is complete: what it did not name is gone."""
        for key in [key for key in self._objects if key not in self._listed]:
            del self._objects[key]
            self._tell(key)
        self.filled.set()

    def put(self, item: Raw) -> None:
        """An object appeared or changed; also for what a write of ours answered, which is then known at once."""
        before = self._objects.get(key_of(item))
        if before is not None and _older(item["metadata"], before["metadata"]):
            # told by a watch that lags behind what a write of ours already answered
            return
        self._keep(item)

    def _keep(self, item: Raw) -> None:
        key = key_of(item)
        metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
        before = self._objects.get(key)
        self._objects[key] = {**item, "metadata": metadata}
        if before is None or before["metadata"].get("resourceVersion") != metadata.get("resourceVersion"):
            self._tell(key)

    def remove(self, item: Raw) -> None:
        """An object is gone."""
        key = key_of(item)
        if self._objects.pop(key, None) is not None:
            self._tell(key)

    def _tell(self, key: Key) -> None:
        for callback in self._callbacks:
            callback(key)


def _older(metadata: Raw, known: Raw) -> bool:
    """Whether it is an earlier state of the same object. Resource versions are numbers that rise (KEP-5504)."""
    if metadata.get("uid") != known.get("uid"):
        return False
    try:
        return int(metadata["resourceVersion"]) < int(known["resourceVersion"])
    except (KeyError, ValueError):
        return False


def key_of(item: Raw) -> Key:
    """Where an object stands."""
    metadata = item["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])
