"""The cluster's ClusterProperty objects (about.k8s.io, KEP-2149), as a watch tells them. No I/O.

For: `cluster.py`. A cluster without the CRD has none. Values are the cluster's own words; only what
`arbora_agent.properties` takes of them is kept for reports, and nothing that is larger than all of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arbora.kubernetes.reflector import Raw
from arbora.manifests.objects import Gvk
from arbora_agent.properties import MAX_BYTES, Bounded, bounded

CLUSTER_PROPERTY = Gvk("about.k8s.io/v1", "ClusterProperty")
"""Where v1 is not served, any version that is: v1beta1, v1alpha1."""
MAX_KEPT = 1000
"""Objects that are kept in memory."""
_TOO_LARGE = "x" * (MAX_BYTES + 1)
"""Stands for every value that can't be reported anyway."""


class PropertySink:
    """Takes the objects of the watch."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._values: dict[str, str] = {}
        self._listed: dict[str, str] = {}
        self.bounded: Bounded = ((), ())
        """What is reported, and the names of what is not."""

    def begin(self) -> None:
        """Start a list."""
        self._listed = {}

    def page(self, items: Sequence[Raw]) -> None:
        """Trim one page."""
        for item in items:
            if len(self._listed) < MAX_KEPT:
                self._listed[item["metadata"]["name"]] = _value(item)

    def end(self, resource_version: str) -> None:
        """Replace what was known."""
        self._values, self._listed = self._listed, {}
        self._changed()

    def put(self, item: Raw) -> None:
        """One appeared or changed."""
        name = item["metadata"]["name"]
        if name in self._values or len(self._values) < MAX_KEPT:
            self._values[name] = _value(item)
            self._changed()

    def remove(self, item: Raw) -> None:
        """One is gone."""
        if self._values.pop(item["metadata"]["name"], None) is not None:
            self._changed()

    def _changed(self) -> None:
        now = bounded(self._values)
        if now != self.bounded:
            self.bounded = now
            self._on_change()


def _value(item: Raw) -> str:
    value = (item.get("spec") or {}).get("value")
    text = value if isinstance(value, str) else ""
    return text if len(text) <= MAX_BYTES else _TOO_LARGE
