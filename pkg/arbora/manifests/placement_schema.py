"""What `spec.placement` may hold beyond members and selector, as a table. Pure.

Only form is checked here, with the line of what is wrong: names, types, nesting. Whether it makes sense (weights
below 0, contradictory spread) is the hub's to say, for every client alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbora.manifests.strict_yaml import FieldPath, YamlDocument, type_name


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value."""

    kind: type
    """str, int, float (takes whole numbers too) or bool."""


@dataclass(frozen=True, slots=True)
class Many:
    """A list of equal things."""

    each: Form


@dataclass(frozen=True, slots=True)
class Table:
    """A map with free keys and equal values."""

    each: Form


@dataclass(frozen=True, slots=True)
class Fields:
    """A map with known keys."""

    known: Mapping[str, Form]
    required: tuple[str, ...] = ()


Form = Leaf | Many | Table | Fields

TEXT, NUMBER, WHOLE, YES = Leaf(str), Leaf(float), Leaf(int), Leaf(bool)
SELECTOR = Fields(
    {
        "matchLabels": Table(TEXT),
        "matchExpressions": Many(
            Fields({"key": TEXT, "operator": TEXT, "values": Many(TEXT)}, ("key", "operator"))
        ),
    }
)
PLACEMENT: Mapping[str, Form] = {
    "expression": TEXT,
    "groups": Many(Fields({"name": TEXT, "members": Many(TEXT), "selector": SELECTOR}, ("name",))),
    "overflow": YES,
    "tolerations": Many(
        Fields({"key": TEXT, "operator": TEXT, "value": TEXT, "effect": TEXT, "tolerationSeconds": WHOLE})
    ),
    "clusters": WHOLE,
    "minimum": WHOLE,
    "spread": Many(
        Fields(
            {"label": TEXT, "maxSkew": WHOLE, "minGroups": WHOLE, "maxGroups": WHOLE, "whenUnsatisfiable": TEXT},
            ("label",),
        )
    ),
    "division": Fields(
        {
            "mode": TEXT,
            "weights": Many(Fields({"weight": WHOLE, "member": TEXT, "selector": SELECTOR}, ("weight",))),
            "allOrNothing": YES,
        },
        ("mode",),
    ),
    "weights": Table(NUMBER),
    "priority": WHOLE,
    "kinds": Many(TEXT),
    "claims": Many(Fields({"name": TEXT, "weight": NUMBER, "hard": YES}, ("name",))),
}
"""The names are the JSON names of arbora.v1.Placement."""

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def check(document: YamlDocument, path: FieldPath, value: Any, form: Form) -> Any:
    """Return `value` if it has the form. Raises InvalidDocument at the line of what hasn't."""
    match form:
        case Leaf(kind):
            return _leaf(document, path, value, kind)
        case Many(each):
            if not isinstance(value, list):
                raise document.error(path, f"is {type_name(value)}, not a list")
            return [check(document, (*path, index), item, each) for index, item in enumerate(value)]
        case Table(each):
            return {
                key: check(document, (*path, key), item, each)
                for key, item in _map(document, path, value).items()
            }
        case Fields(known, required):
            found = _map(document, path, value)
            for key in found:
                if key not in known:
                    raise unknown(document, (*path, key), key, known)
            for key in required:
                if key not in found:
                    raise document.error(path, f"{key} is missing")
            return {key: check(document, (*path, key), item, known[key]) for key, item in found.items()}


def unknown(document: YamlDocument, path: FieldPath, key: str, known: Mapping[str, Form]) -> Exception:
    """The error for a field that nobody knows."""
    near = difflib.get_close_matches(key, known, 1)
    question = f"; did you mean {near[0]}?" if near else ""
    return document.error(
        path, f"unknown field{question}", hint="" if near else f"Known here: {', '.join(known)}."
    )


def _leaf(document: YamlDocument, path: FieldPath, value: Any, kind: type) -> Any:
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise document.error(path, f"is {type_name(value)}, not {_NAMES[kind]}")
    return value


def _map(document: YamlDocument, path: FieldPath, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise document.error(path, f"is {type_name(value)}, not a map")
    return value
