"""One step of reading a YAML document strictly: is this a map, a list, a text, a field that we know?

Each function returns the value in its type, or raises InvalidDocument with the path and the line. What the
fields mean is said by the documents that use it (`documents.py`, `fleet_document.py`). Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.selectors import Requirement, Selector
from arbora.manifests.strict_yaml import FieldPath, InvalidDocument, YamlDocument, type_name

_BOOL_HINT = 'YAML reads y, yes, on, true, n, no, off and false as a bool; write "no" if you mean the text.'


def a_map(document: YamlDocument, path: FieldPath, value: Any) -> dict[str, Any]:
    """`value` if it is a map."""
    if not isinstance(value, dict):
        raise document.error(path, f"is {type_name(value)}, not a map")
    return value


def a_list(document: YamlDocument, path: FieldPath, value: Any) -> list[Any]:
    """`value` if it is a list."""
    if not isinstance(value, list):
        raise document.error(path, f"is {type_name(value)}, not a list")
    return value


def a_text(document: YamlDocument, path: FieldPath, value: Any) -> str:
    """`value` if it is a text; a bool or a number says how to quote it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise document.error(path, "is a bool, quote it", hint=_BOOL_HINT)
    if isinstance(value, int | float):
        raise document.error(path, "is a number, quote it", hint=f'Write "{value}" if you mean the text.')
    raise document.error(path, f"is {type_name(value)}, not a text")


def texts(document: YamlDocument, path: FieldPath, value: Any) -> tuple[str, ...]:
    """A list of texts."""
    found = a_list(document, path, value)
    return tuple(a_text(document, (*path, index), item) for index, item in enumerate(found))


def text_map(document: YamlDocument, path: FieldPath, value: Any) -> dict[str, str]:
    """A map of texts."""
    return {key: a_text(document, (*path, key), item) for key, item in a_map(document, path, value).items()}


def known_fields(
    document: YamlDocument, path: FieldPath, value: Any, known: Collection[str], required: Collection[str] = ()
) -> dict[str, Any]:
    """A map with no field but the known ones, and all of the required ones."""
    found = a_map(document, path, value)
    for key in found:
        if key not in known:
            raise _unknown(document, (*path, key), key, known)
    for key in required:
        if key not in found:
            raise document.error(path, f"{key} is missing")
    return found


def member_names(document: YamlDocument, path: FieldPath, value: Any) -> tuple[str, ...]:
    """A list of names or paths of members."""
    found = texts(document, path, value)
    for index, member in enumerate(found):
        try:
            Path.parse(member)
        except InvalidInput as error:
            raise document.error((*path, index), error.message, hint=error.hint) from error
    return found


def selector(document: YamlDocument, path: FieldPath, value: Any) -> Selector:
    """A label selector as Kubernetes writes it."""
    found = known_fields(document, path, value, ("matchLabels", "matchExpressions"))
    where = (*path, "matchExpressions")
    expressions = tuple(
        _requirement(document, (*where, index), item)
        for index, item in enumerate(a_list(document, where, found.get("matchExpressions", [])))
    )
    return Selector(text_map(document, (*path, "matchLabels"), found.get("matchLabels", {})), expressions)


def _requirement(document: YamlDocument, path: FieldPath, value: Any) -> Requirement:
    found = known_fields(document, path, value, ("key", "operator", "values"), ("key", "operator"))
    requirement = Requirement(
        a_text(document, (*path, "key"), found["key"]),
        a_text(document, (*path, "operator"), found["operator"]),
        texts(document, (*path, "values"), found.get("values", [])),
    )
    if fault := requirement.fault():
        raise document.error(path, fault)
    return requirement


def _unknown(document: YamlDocument, path: FieldPath, key: str, known: Collection[str]) -> InvalidDocument:
    near = difflib.get_close_matches(str(key), known, 1)  # data of a program may have keys that are no texts
    question = f"; did you mean {near[0]}?" if near else ""
    hint = "" if near else f"Known here: {', '.join(known)}."
    return document.error(path, f"unknown field{question}", hint=hint)
