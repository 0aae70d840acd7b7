"""`spec.placement` and `spec.overrides` as a person writes them: read with their lines, written back. Pure.

Flow: `documents.py` -> `read_placement`, `check_overrides` -> plain data that the client puts into a call.
A placement that a program gives, and that stands in no file, is checked by `check_placement` in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arbora.errors import InvalidInput
from arbora.manifests.fields import a_list, known_fields, member_names, selector
from arbora.manifests.forms import check
from arbora.manifests.json_patch import plain
from arbora.manifests.override_reading import read_overrides
from arbora.manifests.placement_schema import PLACEMENT
from arbora.manifests.selectors import Requirement, Selector
from arbora.manifests.strict_yaml import FieldPath, InvalidDocument, YamlDocument, show_path


@dataclass(frozen=True, slots=True)
class PlacementDocument:
    """Where a workload goes: to the union of what is listed and what is selected, narrowed by the rest."""

    members: tuple[str, ...] = ()
    selector: Selector | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)
    """The further fields as plain data, under the JSON names of arbora.v1.Placement."""


def read_placement(document: YamlDocument, path: FieldPath, value: Any) -> PlacementDocument:
    """Raises InvalidDocument."""
    found = known_fields(document, path, value, ("members", "selector", *PLACEMENT))
    rest = {
        key: check(document, (*path, key), each, PLACEMENT[key])
        for key, each in found.items()
        if key in PLACEMENT
    }
    if not found.get("members") and "selector" not in found and not rest.get("groups"):
        raise document.error(
            path,
            "names neither members nor a selector",
            hint="List members, or write selector: {} for all of them.",
        )
    return PlacementDocument(
        member_names(document, (*path, "members"), found.get("members", [])),
        selector(document, (*path, "selector"), found["selector"]) if "selector" in found else None,
        rest,
    )


def check_placement(rest: Mapping[str, Any], field: str = "spec.placement") -> dict[str, Any]:
    """The further fields of a placement as plain data, if they have the form that a file's must have.

    field: the placement's own path. Raises InvalidInput naming the field that is wrong.
    """
    document = YamlDocument(rest, "", {})
    path = tuple(field.split("."))
    try:
        found = known_fields(document, path, plain(rest), PLACEMENT)
        return {key: check(document, (*path, key), each, PLACEMENT[key]) for key, each in found.items()}
    except InvalidDocument as error:  # there is no file whose line could be told
        raise InvalidInput(error.message, field=error.field, hint=error.hint) from error


def write_placement(placement: PlacementDocument) -> dict[str, Any]:
    """`placement` as plain data that `read_placement` reads as the same."""
    written: dict[str, Any] = {}
    if placement.members:
        written["members"] = list(placement.members)
    if (chosen := placement.selector) is not None:
        inner: dict[str, Any] = {}
        written["selector"] = inner
        if chosen.match_labels:
            inner["matchLabels"] = dict(chosen.match_labels)
        if chosen.match_expressions:
            inner["matchExpressions"] = [_expression(each) for each in chosen.match_expressions]
    return written | dict(placement.rest)


def check_overrides(document: YamlDocument, path: FieldPath, value: Any) -> tuple[Mapping[str, Any], ...]:
    """`value` if it is a list of overrides. Raises InvalidDocument with the line of what is wrong."""
    overrides = a_list(document, path, value)
    prefix = show_path(path)
    try:
        read_overrides(overrides, prefix)
    except InvalidInput as error:
        wrong = (*path, *_steps(overrides, error.field.removeprefix(prefix)))
        raise InvalidDocument(
            document.source, document.line(wrong), error.field, error.message, hint=error.hint
        ) from error
    return tuple(overrides)


def _expression(requirement: Requirement) -> dict[str, Any]:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": requirement.operator, **values}


def _steps(value: Any, text: str) -> FieldPath:
    """The part of `text` (`[0].edits[1].labels.values.a.b/c`) that is there in `value`; keys may hold dots."""
    steps: list[str | int] = []
    while text:
        if isinstance(value, list):
            number, closed, after = text.removeprefix("[").partition("]")
            if not closed or not number.isdecimal() or int(number) >= len(value):
                break
            steps.append(int(number))
            value, text = value[int(number)], after
            continue
        keys = value if isinstance(value, dict) else {}
        fitting = [
            key for key in keys if text.startswith(f".{key}") and text[len(key) + 1 :][:1] in ("", ".", "[")
        ]
        if not fitting:
            break
        key = max(fitting, key=len)
        steps.append(key)
        value, text = keys[key], text[len(key) + 1 :]
    return tuple(steps)
