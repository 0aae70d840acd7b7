"""How `status.nominatedClusterNames` is written without taking anything from Kueue or leaving anything. Pure.

Kueue keeps a Workload's admission by server-side apply as ADMISSION_MANAGER, always with the whole of it, and
empties the nominations by leaving them out. A nomination under another manager's name would stay, and a Workload
may not have a member and nominations at once: it could never be admitted. One under Kueue's name that says
nothing else would take the quota reservation away, as what a manager leaves out is removed.

So a nomination says again all that Kueue owns, word for word as it is, plus the nominations, and is only valid
for that very version of the object. What Kueue owns is read from `managedFields`. Where Kueue uses merge patches
(its gate WorkloadRequestUseMergePatch) it owns nothing in that way, and clears the field by itself.

Source: pkg/workload/patching of Kueue; site/content/en/docs/concepts/multikueue.md, "External".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arbora_hub.kubernetes.multikueue.kinds import ADMISSION_MANAGER

Raw = Mapping[str, Any]


def nomination(item: Raw, clusters: Sequence[str]) -> dict[str, Any]:
    """The body to apply to `/status` as ADMISSION_MANAGER. item: the Workload with its managedFields."""
    metadata = item["metadata"]
    owned: dict[str, Any] = {}
    for entry in metadata.get("managedFields") or ():
        if (entry.get("manager"), entry.get("operation"), entry.get("subresource")) == (
            ADMISSION_MANAGER,
            "Apply",
            "status",
        ):
            owned = _owned(item, entry.get("fieldsV1") or {}).get("status") or {}
    owned.pop("nominatedClusterNames", None)
    return {
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "status": {**owned, **({"nominatedClusterNames": list(clusters)} if clusters else {})},
    }


def _owned(value: Any, fields: Raw) -> Any:
    """The part of a value that `fieldsV1` names.

    `f:x` is the field x, `k:{...}` the item of a list with these keys, `v:x` the item x itself; without anything
    below it, all of it is owned.
    """
    below = {path: each for path, each in fields.items() if path != "."}
    if not below:
        return value if not fields or not isinstance(value, Mapping | list) else type(value)()
    if isinstance(value, list):
        return [found for path, each in below.items() for found in _items(value, path, each)]
    if not isinstance(value, Mapping):
        return value
    names = {path.removeprefix("f:"): each for path, each in below.items() if path.startswith("f:")}
    return {name: _owned(value[name], each) for name, each in names.items() if name in value}


def _items(value: Sequence[Any], path: str, fields: Raw) -> list[Any]:
    kind, _, told = path.partition(":")
    if kind == "v":
        return [each for each in value if each == json.loads(told)]
    if kind == "i":
        index = int(told)
        return [_owned(value[index], fields)] if index < len(value) else []
    keys = json.loads(told)
    return [
        {**keys, **_owned(each, fields)}
        for each in value
        if isinstance(each, Mapping) and all(each.get(name) == key for name, key in keys.items())
    ]
