"""How an API server merges what a client sends into what is stored: server-side apply and merge patch. Pure.

For `objects.py`. Lists whose items all have a `name` (containers, env, volumes, ports) merge item by item as
Kubernetes' associative lists do; every other list is one value. Source: KEP-555, RFC 7386.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SERVER_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


def fields_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what a client may say: without status, nulls and the metadata that the server writes."""
    kept: dict[str, Any] = {
        key: _copy(value) for key, value in manifest.items() if key != "status" and value is not None
    }
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_METADATA}
    return kept


def apply(live: Mapping[str, Any], before: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """`live` with what `desired` says, without what `before` (the last apply) said and `desired` doesn't."""
    merged: dict[str, Any] = _overlay(_without(live, before, desired), desired)
    return merged


def merge_patch(live: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, Mapping):
        return _copy(patch)
    merged = dict(live) if isinstance(live, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_copy(each) for each in value]
    return value


def _by_name(value: Any) -> dict[str, Any] | None:
    """The items of an associative list by name; None for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    items = {
        each["name"]: each for each in value if isinstance(each, Mapping) and isinstance(each.get("name"), str)
    }
    return items if len(items) == len(value) else None


def _overlay(live: Any, desired: Any) -> Any:
    if isinstance(live, Mapping) and isinstance(desired, Mapping):
        return {**live, **{key: _overlay(live.get(key), value) for key, value in desired.items()}}
    theirs, ours = _by_name(live), _by_name(desired)
    if theirs is not None and ours:
        merged = [_overlay(theirs.get(name), item) for name, item in ours.items()]
        return [*merged, *(item for name, item in theirs.items() if name not in ours)]
    return desired


def _without(live: Any, before: Any, desired: Any) -> Any:
    """`live` without the leaves of `before` that `desired` no longer has."""
    if isinstance(live, Mapping) and isinstance(before, Mapping):
        wanted = desired if isinstance(desired, Mapping) else {}
        kept = {}
        for key, value in live.items():
            if key not in before:
                kept[key] = value
            elif key in wanted or isinstance(before[key], (Mapping, list)):
                rest = _without(value, before[key], wanted.get(key))
                if key in wanted or rest:
                    kept[key] = rest
        return kept
    theirs, ours = _by_name(live), _by_name(before)
    if theirs is not None and ours is not None:
        wanted_items = _by_name(desired) or {}
        return [
            _without(item, ours[name], wanted_items[name]) if name in ours else item
            for name, item in theirs.items()
            if name not in ours or name in wanted_items
        ]
    return live if desired is not None else None
