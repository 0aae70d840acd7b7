"""What has to be there against what is there: what to create, change and delete. Pure.

Ours is what has the label of the Fleet and its full name. Whatever else has a name that we want is left alone and
reported. An object is changed only if it lacks something, or if we last wrote something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from arbora.kubernetes.discovery import Resource
from arbora.manifests.objects import to_json
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST
from arbora_hub.kubernetes.multikueue.kinds import (
    ADMISSION_CHECK,
    APPLIED_ANNOTATION,
    CLUSTER_QUEUE,
    FLEET_ANNOTATION,
    FLEET_LABEL,
    LOCAL_QUEUE,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    RESOURCE_FLAVOR,
)
from arbora_hub.kubernetes.multikueue.names import digest, label_value
from arbora_hub.kubernetes.multikueue.objects import Wanted

Raw = Mapping[str, Any]

ORDER: tuple[Resource, ...] = (
    AUTH_TOKEN_REQUEST,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    ADMISSION_CHECK,
    RESOURCE_FLAVOR,
    CLUSTER_QUEUE,
    LOCAL_QUEUE,
)
"""In which kinds are written; they are deleted the other way round, after everything is written."""


@dataclass(frozen=True, slots=True)
class Create:
    """There is none of that name."""

    kind: Resource
    body: Raw


@dataclass(frozen=True, slots=True)
class Change:
    """Ours, and not as it has to be."""

    kind: Resource
    body: Raw
    """With the uid of the object that it is meant for."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Ours, and not wanted any more."""

    kind: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Changes:
    """In the order in which they are made."""

    writes: tuple[Create | Change, ...]
    deletions: tuple[Delete, ...]
    foreign: tuple[str, ...]
    """Objects of others that have a name we want, as `Kind namespace/name`."""


def changes(fleet: str, wanted: Iterable[Wanted], there: Mapping[Resource, Iterable[Raw]]) -> Changes:
    """there: all objects of each kind of ORDER, whoever made them."""
    by_key: dict[tuple[str, str, str], Wanted] = {one.key: one for one in wanted}
    found = {
        (kind.plural, item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
        for kind in ORDER
        for item in there.get(kind, ())
    }
    writes: list[Create | Change] = []
    foreign: list[str] = []
    for key, one in sorted(by_key.items(), key=lambda each: (ORDER.index(each[1].kind), each[0])):
        body, item = stamped(one.body), found.get(key)
        if item is None:
            writes.append(Create(one.kind, body))
        elif not is_ours(item, fleet):
            foreign.append(f"{one.kind.gvk.kind} {'/'.join(filter(None, key[1:]))}")
        elif not _as_wanted(item, body):
            uid = item["metadata"]["uid"]
            writes.append(Change(one.kind, {**body, "metadata": {**body["metadata"], "uid": uid}}))
    deletions = [
        Delete(
            kind,
            item["metadata"].get("namespace", ""),
            item["metadata"]["name"],
            item["metadata"]["uid"],
        )
        for kind in reversed(ORDER)
        for item in there.get(kind, ())
        if is_ours(item, fleet)
        and (kind.plural, item["metadata"].get("namespace", ""), item["metadata"]["name"]) not in by_key
        and item["metadata"].get("deletionTimestamp") is None
    ]
    return Changes(tuple(writes), tuple(deletions), tuple(foreign))


def is_ours(item: Raw, fleet: str) -> bool:
    """Whether we made this for the Fleet."""
    metadata = item["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return labels.get(FLEET_LABEL) == label_value(fleet) and annotations.get(FLEET_ANNOTATION) == fleet


def fleet_of(item: Raw) -> str:
    """The Fleet that we made this for; empty: it is not ours."""
    fleet = str((item["metadata"].get("annotations") or {}).get(FLEET_ANNOTATION, ""))
    return fleet if fleet and is_ours(item, fleet) else ""


def stamped(body: Raw) -> dict[str, Any]:
    """The body with a digest of itself, by which a field that we want no more is seen, too."""
    metadata = body["metadata"]
    mark = {APPLIED_ANNOTATION: digest(to_json(body).decode())}
    return {**body, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **mark}}}


def _as_wanted(item: Any, wanted: Any) -> bool:
    """Whether everything wanted is there; what others added, and what was filled in, counts for nothing."""
    if item == wanted:
        return True
    if isinstance(wanted, Mapping):
        return isinstance(item, Mapping) and all(_as_wanted(item.get(key), each) for key, each in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(item, list)
            and len(item) == len(wanted)
            and all(_as_wanted(one, each) for one, each in zip(item, wanted, strict=True))
        )
    return False
