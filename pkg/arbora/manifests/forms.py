"""Forms: what plain data may look like, as a table, and the one function that checks data against it.

Only form is checked, with the line of what is wrong: names, types, nesting, bounds of numbers. Whether it makes
sense is for others to say. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbora.manifests.fields import a_list, a_map, a_text, known_fields, member_names, selector
from arbora.manifests.strict_yaml import FieldPath, YamlDocument, type_name


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value."""

    kind: type
    """str, int, float (takes whole numbers too) or bool."""
    least: float | None = None
    most: float | None = None
    """Of a number."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these texts."""

    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """A Kubernetes label selector."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names or paths of members."""


@dataclass(frozen=True, slots=True)
class Anything:
    """What the reader looks at itself."""


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


Form = Leaf | OneOf | Labels | Names | Anything | Many | Table | Fields

TEXT, NUMBER, YES = Leaf(str), Leaf(float), Leaf(bool)
WHOLE = Leaf(int, -(2**31), 2**31 - 1)
COUNT = Leaf(int, 0, 2**32 - 1)
"""Whole numbers of the wire: int32 and uint32."""

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def check(document: YamlDocument, path: FieldPath, value: Any, form: Form) -> Any:
    """Return `value` if it has the form. Raises InvalidDocument at the line of what hasn't."""
    match form:
        case Leaf():
            return _leaf(document, path, value, form)
        case OneOf(known):
            if a_text(document, path, value) not in known:
                raise document.error(path, f"{value!r} is not one of {', '.join(known)}")
        case Labels():
            selector(document, path, value)
        case Names():
            member_names(document, path, value)
        case Anything():
            pass
        case Many(each):
            items = a_list(document, path, value)
            return [check(document, (*path, index), item, each) for index, item in enumerate(items)]
        case Table(each):
            entries = a_map(document, path, value).items()
            return {key: check(document, (*path, key), item, each) for key, item in entries}
        case Fields(known, required):
            found = known_fields(document, path, value, known, required)
            return {key: check(document, (*path, key), item, known[key]) for key, item in found.items()}
    return value


def _leaf(document: YamlDocument, path: FieldPath, value: Any, form: Leaf) -> Any:
    if form.kind is str:
        return a_text(document, path, value)
    fits = isinstance(value, form.kind) or (form.kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and form.kind is not bool):
        raise document.error(path, f"is {type_name(value)}, not {_NAMES[form.kind]}")
    if form.kind is float:
        _finite(document, path, value)
    if form.least is not None and value < form.least:
        raise document.error(path, f"{value} is below {form.least:g}")
    if form.most is not None and value > form.most:
        raise document.error(path, f"{value} is above {form.most:.0f}")
    return value


def _finite(document: YamlDocument, path: FieldPath, value: float) -> None:
    """Whether a double of the wire can hold it as a number."""
    try:
        finite = math.isfinite(value)
    except OverflowError as error:  # a whole number may have any length
        raise document.error(path, "is too large") from error
    if not finite:
        raise document.error(path, f"{value} is not a finite number")
