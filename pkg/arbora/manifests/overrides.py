"""Overrides: what is different in one member from what a workload says in general.

For: hubs, which apply them when they hand an assignment to a member, and `--dry-run`, which shows the effect.
Must not place anything. Overrides apply in the order in which they are written, and so do the edits inside one;
a later one sees, and may undo, what an earlier one did. Pure; nothing that comes in is changed.

Flow: `override_reading.read_overrides` -> `Override`s -> `apply_overrides` per member -> `difference.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.edits import Edit, apply_edit, describe, key_of
from arbora.manifests.json_patch import check_size, equal, plain
from arbora.manifests.matching import matches
from arbora.manifests.objects import Manifest, ObjectRef, ref_of
from arbora.manifests.selectors import Selector


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What overrides may know of a member."""

    name: str
    path: Path
    """From the root of the tree."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Which objects an override changes: all that agree with everything that is given here."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    selector: Selector | None = None
    """Over the labels of the object as the edits before this override left it."""


@dataclass(frozen=True, slots=True)
class Override:
    """Some edits, of some objects, in some members."""

    edits: tuple[Edit, ...]
    members: tuple[str, ...] = ()
    """Names, or paths (with a slash): a path stands for its node and for everything below it."""
    selector: Selector | None = None
    """Over a member's labels. Without members and selector the override is for every member."""
    targets: tuple[Target, ...] = ()
    """Any of them; none: every object."""


@dataclass(frozen=True, slots=True)
class Overridden:
    """The manifests for one member."""

    manifests: tuple[Manifest, ...]
    applied: tuple[str, ...]
    """What happened, one sentence per edit and object, without values."""


def selects(override: Override, member: MemberFacts) -> bool:
    """Whether the override is for this member: listed, or selected by its labels."""
    if not override.members and override.selector is None:
        return True
    if override.selector is not None and matches(override.selector, member.labels):
        return True
    return any(_listed(written, member) for written in override.members)


def apply_overrides(
    manifests: Sequence[Manifest],
    overrides: Sequence[Override],
    member: MemberFacts,
    field: str = "spec.overrides",
) -> Overridden:
    """The manifests as `member` is to get them. Objects that nothing changes are passed on as they are.

    field: where the overrides stand, for errors. Raises InvalidInput naming the override, the edit and the
    object, also if two objects would have the same name afterwards.
    """
    results = list(manifests)
    applied: list[str] = []
    for index, override in enumerate(overrides):
        if not selects(override, member):
            continue
        where = f"{field}[{index}]"
        chosen = [at for at, manifest in enumerate(results) if _targets(override, manifest)]
        if not chosen:
            applied.append(f"{where}: no object of the workload is its target")
        for at in chosen:
            results[at] = _edited(override, results[at], where, applied)
    _check_names(results, field)
    return Overridden(tuple(results), tuple(applied))


def _listed(written: str, member: MemberFacts) -> bool:
    if "/" not in written:
        return written == member.name
    return member.path.relative_to(Path.parse(written)) is not None


def _targets(override: Override, manifest: Manifest) -> bool:
    return not override.targets or any(_agrees(target, manifest) for target in override.targets)


def _agrees(target: Target, manifest: Manifest) -> bool:
    metadata = manifest.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    labels = metadata.get("labels")
    given = (
        (target.api_version, manifest.get("apiVersion")),
        (target.kind, manifest.get("kind")),
        (target.namespace, metadata.get("namespace")),
        (target.name, metadata.get("name")),
    )
    return all(not wanted or wanted == found for wanted, found in given) and (
        target.selector is None or matches(target.selector, _texts_of(labels))
    )


def _texts_of(labels: object) -> Mapping[str, str]:
    """Labels that are texts; what else a damaged object holds there selects nothing."""
    if not isinstance(labels, Mapping):
        return {}
    return {key: value for key, value in labels.items() if isinstance(value, str)}


def _edited(override: Override, manifest: Manifest, where: str, applied: list[str]) -> Manifest:
    """One object after all edits of one override; adds a sentence for each edit to `applied`."""
    shown = f"{manifest.get('kind')} {_name_of(manifest)}"
    current = manifest
    for number, edit in enumerate(override.edits):
        place = f"{where}.edits[{number}]"
        try:
            check_size(current)
            # Each edit gets a copy of its own, so that what it changed can be told.
            changed: dict[str, Any] = apply_edit(edit, plain(current))
            check_size(changed)
        except InvalidInput as error:
            raise InvalidInput(
                f"{shown}: {error.message}", field=f"{place}.{key_of(edit)}{error.field}", hint=error.hint
            ) from error
        effect = "changed nothing in" if equal(changed, current) else "changed"
        applied.append(f"{place}: {describe(edit)} {effect} {shown}")
        current = changed
    return current


def _name_of(manifest: Manifest) -> str:
    metadata = manifest.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""


def _check_names(manifests: Sequence[Manifest], field: str) -> None:
    seen: set[ObjectRef] = set()
    for index, manifest in enumerate(manifests):
        ref = ref_of(manifest, f"manifests[{index}]")
        if ref in seen:
            raise InvalidInput(
                f"{ref} would be there twice", field=field, hint="Don't give two objects the same name."
            )
        seen.add(ref)
