"""JSON or YAML inside of a text, such as a configuration file in a ConfigMap: read, patch, write.

For: overrides of kind `field`. Comments and layout of YAML are lost, the data is not. Reads as strictly as
manifests are read. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from arbora.errors import InvalidInput
from arbora.manifests.json_patch import apply_patch, equal
from arbora.manifests.strict_yaml import InvalidDocument, dump_yaml, read_yaml

FORMATS = ("json", "yaml")


def patch_text(text: str, format: str, operations: Sequence[Mapping[str, Any]]) -> str:
    """`text` with a JSON patch applied to the one document that it holds; an empty text holds an empty map.

    format: one of FORMATS. Raises InvalidInput if the text can't be read or the patch not be applied.
    """
    value = _read_json(text) if format == "json" else _read_yaml(text)
    changed = apply_patch(value, operations)
    if text.strip() and equal(changed, value):
        return text
    if format == "yaml":
        return dump_yaml([changed])
    # One line stays one line; what somebody laid out for reading stays readable.
    laid_out = "\n" in text.strip()
    written = json.dumps(changed, indent=2, ensure_ascii=False) if laid_out else json.dumps(changed)
    return written + ("\n" if text.endswith("\n") else "")


def _read_yaml(text: str) -> Any:
    try:
        documents = read_yaml(text, "the text")
    except InvalidDocument as error:
        raise InvalidInput(f"line {error.line}: {error.message}", hint=error.hint) from error
    if len(documents) > 1:
        raise InvalidInput("holds more than one YAML document", hint="Only a text with one can be patched.")
    return documents[0].value if documents else {}


def _read_json(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"is not JSON: {error}") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
