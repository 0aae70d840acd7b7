"""Whether a profile already says what it should, so that nothing is written for nothing. Pure.

Times are not compared, and neither is what others add: labels, annotations, conditions of other types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from arbora_hub.kubernetes.conditions import by_key
from arbora_hub.kubernetes.profiles.content import HEALTH

Raw = Mapping[str, Any]


def body_differs(wanted: Raw, live: Raw) -> bool:
    """Whether the main resource is to be written."""
    ours, there = wanted["metadata"], live["metadata"]
    for part in ("labels", "annotations"):
        present = there.get(part) or {}
        if any(present.get(key) != value for key, value in ours[part].items()):
            return True
    spec = live.get("spec") or {}
    return any(spec.get(key) != value for key, value in wanted["spec"].items())


def status_differs(wanted: Raw, live: Raw) -> bool:
    """Whether /status is to be written. Both are statuses."""
    return _essence(wanted) != _essence(live, _types(wanted))


def health_differs(wanted: Raw, live: Raw) -> bool:
    """Whether a condition differs that consumers wait for. Both are statuses."""
    return _statuses(wanted) != _statuses(live)


def _statuses(status: Raw) -> list[object]:
    conditions = by_key(status.get("conditions"), "type")
    return [conditions.get(kind, {}).get("status") for kind in HEALTH]


def _types(status: Raw) -> frozenset[str]:
    return frozenset(by_key(status.get("conditions"), "type"))


def _essence(status: Raw, types: Iterable[str] | None = None) -> object:
    """What is compared. types: of conditions that count; None: all."""
    conditions = by_key(status.get("conditions"), "type")
    counted = conditions if types is None else types
    return (
        {kind: _without(conditions.get(kind, {}), "lastTransitionTime") for kind in counted},
        status.get("version") or {},
        {name: one.get("value") for name, one in by_key(status.get("properties"), "name").items()},
        list(status.get("accessProviders") or ()),
    )


def _without(one: Raw, key: str) -> Raw:
    return {name: value for name, value in one.items() if name != key}
