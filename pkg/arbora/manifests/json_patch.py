"""JSON pointers and JSON patches over plain data.

For: overrides, and writing a share's replicas. The document that comes in is never changed; nothing of it is
shared with what comes out. Strict and bounded: every operation and pointer is checked, `true` never equals 1,
and what `copy` makes is limited, since a handful of copies can double a document each. Pure.
Sources: RFC 6901 (pointers), RFC 6902 (patches).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbora.errors import InvalidInput

MAX_WEIGHT = 4 * 2**20
"""Nodes and characters of a document, before and after."""
MAX_DEPTH = 128
"""Nested maps and lists."""
OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")

_ABSENT = object()


def split_pointer(pointer: object) -> tuple[str, ...]:
    """The unescaped steps of a JSON pointer; none for the whole document. Raises InvalidInput."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise InvalidInput(f"{pointer!r} is not a JSON pointer", hint="It begins with /, such as /spec/replicas.")
    steps = pointer.split("/")[1:]
    for step in steps:
        if "~" in step.replace("~0", "").replace("~1", ""):
            raise InvalidInput(
                f"{pointer!r} holds a ~ that is not escaped", hint="Write ~0 for a ~ and ~1 for a / in a key."
            )
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def apply_patch(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """A copy of `document` with `operations` applied in order; all of them or none.

    Raises InvalidInput naming the operation by its index, also if a `test` fails.
    """
    check_size(document)
    result = plain(document)
    for index, operation in enumerate(operations):
        try:
            result = _apply(result, operation)
        except InvalidInput as error:
            where = f"[{index}]" + (f".{error.field}" if error.field else "")
            raise InvalidInput(error.message, field=where, hint=error.hint) from error
    return result


def check_operations(operations: object) -> None:
    """Raise InvalidInput unless this is a list of well-formed operations, whatever they are applied to."""
    if not isinstance(operations, list | tuple):
        raise InvalidInput("is not a list of operations")
    for index, operation in enumerate(operations):
        try:
            _read(operation)
        except InvalidInput as error:
            where = f"[{index}]" + (f".{error.field}" if error.field else "")
            raise InvalidInput(error.message, field=where, hint=error.hint) from error


def look_up(document: Any, steps: Sequence[str]) -> Any:
    """The value at `steps`. Raises InvalidInput if there is none."""
    found = document
    for step in steps:
        if isinstance(found, list):
            found = found[_index(found, step, len(found) - 1)]
        elif isinstance(found, Mapping) and step in found:
            found = found[step]
        else:
            raise InvalidInput(f"there is no {step!r} in {_join(steps)}")
    return found


def plain(value: Any) -> Any:
    """A deep copy in maps and lists of our own."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def check_size(value: Any) -> None:
    """Raise InvalidInput if `value` is larger or deeper than any real manifest."""
    weight = 0
    layer, depth = [value], 0
    while layer:
        weight += len(layer)
        below: list[Any] = []
        for each in layer:
            if isinstance(each, Mapping):
                weight += sum(len(key) for key in each if isinstance(key, str))
                below.extend(each.values())
            elif isinstance(each, list | tuple):
                below.extend(each)
            elif isinstance(each, str):
                weight += len(each)
        if weight > MAX_WEIGHT:
            raise InvalidInput("becomes too large", hint=f"At most {MAX_WEIGHT >> 20} MiB.")
        layer, depth = below, depth + 1
        if depth > MAX_DEPTH:
            raise InvalidInput(f"is nested deeper than {MAX_DEPTH} levels")


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON: numbers by value, never a bool with a number, maps without order."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def _read(operation: object) -> tuple[str, tuple[str, ...], Any]:
    """The operation's name, its path, and its value or (for move and copy) the steps of `from`."""
    if not isinstance(operation, Mapping):
        raise InvalidInput("is not an operation", hint="Such as {op: replace, path: /spec/replicas, value: 2}.")
    name = operation.get("op")
    if not isinstance(name, str) or name not in OPERATIONS:
        raise InvalidInput(f"{name!r} is not one of {', '.join(OPERATIONS)}", field="op")
    steps = _pointer(operation, "path")
    if name in ("move", "copy"):
        source = _pointer(operation, "from")
        if name == "move" and steps[: len(source)] == source and steps != source:
            raise InvalidInput("can't be moved into itself", field="from")
        return name, steps, source
    if name != "remove" and "value" not in operation:
        raise InvalidInput("is missing", field="value")
    return name, steps, operation.get("value")


def _pointer(operation: Mapping[str, Any], key: str) -> tuple[str, ...]:
    if key not in operation:
        raise InvalidInput("is missing", field=key)
    try:
        return split_pointer(operation[key])
    except InvalidInput as error:
        raise InvalidInput(error.message, field=key, hint=error.hint) from error


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    name, steps, argument = _read(operation)
    try:
        match name:
            case "test":
                if not equal(look_up(document, steps), argument):
                    raise InvalidInput(f"the test fails: {_join(steps)} has another value")
                return document
            case "add":
                result = _add(document, steps, plain(argument))
            case "replace":
                look_up(document, steps)
                result = _replace(document, steps, plain(argument))
            case "remove":
                return _remove(document, steps)
            case "move":
                value = look_up(document, argument)
                if steps == argument:
                    return document
                result = _add(_remove(document, argument), steps, value)
            case _:
                value = look_up(document, argument)
                check_size([document, value])
                result = _add(document, steps, plain(value))
    except InvalidInput as error:
        raise InvalidInput(error.message, field=error.field or "path", hint=error.hint) from error
    check_size(result)
    return result


def _add(document: Any, steps: Sequence[str], value: Any) -> Any:
    if not steps:
        return value
    parent, last = look_up(document, steps[:-1]), steps[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(parent, last, len(parent)), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise InvalidInput(f"{_join(steps[:-1])} is neither a map nor a list")
    return document


def _replace(document: Any, steps: Sequence[str], value: Any) -> Any:
    if not steps:
        return value
    parent, last = look_up(document, steps[:-1]), steps[-1]
    parent[_index(parent, last, len(parent) - 1) if isinstance(parent, list) else last] = value
    return document


def _remove(document: Any, steps: Sequence[str]) -> Any:
    look_up(document, steps)
    if not steps:
        return None
    parent, last = look_up(document, steps[:-1]), steps[-1]
    del parent[_index(parent, last, len(parent) - 1) if isinstance(parent, list) else last]
    return document


def _index(items: Sequence[Any], step: str, last: int) -> int:
    if not (step.isascii() and step.isdecimal()) or (len(step) > 1 and step[0] == "0"):
        raise InvalidInput(f"{step!r} is not an index of a list")
    if len(step) > 9 or int(step) > last:
        raise InvalidInput(f"{step} is beyond the end of a list of {len(items)}")
    return int(step)


def _join(steps: Sequence[str]) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps) or "the document"
