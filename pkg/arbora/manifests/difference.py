"""What differs between two versions of objects: as data, and as text for people.

For: `--dry-run`, which shows what overrides or a new generation would change. The order is always the same, and
values of Secrets are never shown, only that they change. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arbora.manifests.json_patch import equal
from arbora.manifests.objects import Manifest, ObjectRef, ref_of
from arbora.manifests.strict_yaml import FieldPath, dump_yaml, show_path


class _Absent:
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands for a value that is not there, which is not the same as null."""

HIDDEN = "***"
HIDDEN_CHANGED = "*** (changed)"
_SECRET_PARTS = ("data", "stringData")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Change:
    """One place where the versions differ. `path` is as errors show it: `spec.containers[0].image`."""

    path: str
    before: Any
    """ABSENT if there was nothing."""
    after: Any
    """ABSENT if there is nothing any more."""


def difference(before: Manifest, after: Manifest) -> list[Change]:
    """All changes from one version of an object to the other, sorted by path; lists by their index."""
    hidden_before, hidden_after = _hide(before, after)
    found: list[tuple[FieldPath, Any, Any]] = []
    _compare(hidden_before, hidden_after, (), found)
    found.sort(key=lambda each: [(isinstance(step, int), step) for step in each[0]])
    return [Change(show_path(path), old, new) for path, old, new in found]


def text_difference(
    before: Sequence[Manifest], after: Sequence[Manifest], from_name: str = "before", to_name: str = "after"
) -> str:
    """A unified diff of all objects as YAML with sorted keys, object by object in the order of their names.

    Empty if nothing changes. Raises InvalidInput if an object has no name.
    """
    old, new = {ref_of(each): each for each in before}, {ref_of(each): each for each in after}
    lines: list[str] = []
    for ref in sorted({*old, *new}):
        left, right = _hide(old.get(ref, {}), new.get(ref, {}))
        lines += difflib.unified_diff(
            _yaml(left),
            _yaml(right),
            f"{from_name}/{_label(ref)}",
            f"{to_name}/{_label(ref)}",
            lineterm="",
        )
    return "\n".join(lines) + "\n" if lines else ""


def _compare(before: Any, after: Any, path: FieldPath, found: list[tuple[FieldPath, Any, Any]]) -> None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {*before, *after}:
            _compare(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key), found)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        for index in range(max(len(before), len(after))):
            left = before[index] if index < len(before) else ABSENT
            right = after[index] if index < len(after) else ABSENT
            _compare(left, right, (*path, index), found)
    elif before is not after and (before is ABSENT or after is ABSENT or not equal(before, after)):
        found.append((path, before, after))


def _hide(before: Manifest, after: Manifest) -> tuple[Manifest, Manifest]:
    """Both versions without the values of a Secret; where they differ, the new one says so."""
    if "Secret" not in (before.get("kind"), after.get("kind")):
        return before, after
    left, right = dict(before), dict(after)
    for part in _SECRET_PARTS:
        old, new = _entries(before, part), _entries(after, part)
        if part in left:
            left[part] = dict.fromkeys(old, HIDDEN)
        if part in right:
            right[part] = {
                key: HIDDEN if key not in old or equal(old[key], value) else HIDDEN_CHANGED
                for key, value in new.items()
            }
    return _without_copy(left), _without_copy(right)


def _entries(manifest: Manifest, part: str) -> Mapping[str, Any]:
    entries = manifest.get(part)
    return entries if isinstance(entries, Mapping) else {}


def _without_copy(manifest: dict[str, Any]) -> Manifest:
    """Without kubectl's annotation, which repeats the whole Secret."""
    metadata = manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(annotations, Mapping):
        return manifest
    if _LAST_APPLIED not in annotations:
        return manifest
    return {**manifest, "metadata": {**metadata, "annotations": {**annotations, _LAST_APPLIED: HIDDEN}}}


def _yaml(manifest: Manifest) -> list[str]:
    return dump_yaml([_sorted(manifest)]).splitlines() if manifest else []


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(each) for each in value]
    return value


def _label(ref: ObjectRef) -> str:
    return "/".join(filter(None, (ref.gvk.api_version, ref.gvk.kind, ref.namespace, ref.name)))
