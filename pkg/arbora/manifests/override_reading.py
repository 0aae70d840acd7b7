"""From `spec.overrides`, as a client wrote it, to `Override`s. Strictly: what makes no sense is refused.

For: whoever takes a workload in. Whether an edit fits an object shows only when it is applied. Pure.

    - members: [edge-7, /cn]                # and/or selector: {matchLabels: {...}}; neither: every member
      targets: [{kind: Deployment, name: web}]        # none: every object
      edits:
        - image: {part: registry, operator: replace, value: registry.local:5000}
        - args: {container: web, operator: add, values: [--verbose]}
        - labels: {operator: add, values: {region: cn}}
        - env: {set: {PROXY: "http://proxy.local"}, remove: [DEBUG]}
        - jsonPatch: [{op: replace, path: /spec/paused, value: true}]
        - field: {path: /data/app.yaml, format: yaml, patch: [{op: add, path: /region, value: cn}]}
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Literal

from arbora.errors import InvalidInput
from arbora.identity.names import Path, check_name
from arbora.manifests.edits import OPERATORS, Edit, EnvEdit, ImageEdit, ListEdit, MapEdit, PatchEdit, TextEdit
from arbora.manifests.image import PARTS
from arbora.manifests.json_patch import check_operations, split_pointer
from arbora.manifests.nested import FORMATS
from arbora.manifests.overrides import Override, Target
from arbora.manifests.selectors import Requirement, Selector
from arbora.manifests.strict_yaml import type_name

MAX_OVERRIDES = 200
"""Per workload."""


def read_overrides(value: object, field: str = "spec.overrides") -> tuple[Override, ...]:
    """The overrides in `value` (a list of maps). Raises InvalidInput with the path of what is wrong."""
    written = _list(value, field)
    if len(written) > MAX_OVERRIDES:
        raise InvalidInput(f"holds {len(written)} overrides, {MAX_OVERRIDES} at most", field=field)
    return tuple(_override(each, f"{field}[{index}]") for index, each in enumerate(written))


def _override(value: object, field: str) -> Override:
    found = _fields(value, field, ("members", "selector", "targets", "edits"), ("edits",))
    members = _texts(found.get("members", ()), f"{field}.members")
    for index, text in enumerate(members):
        where = f"{field}.members[{index}]"
        if "/" in text:
            Path.parse(text, where)
        else:
            check_name(text, where)
    edits = _list(found["edits"], f"{field}.edits")
    if not edits:
        raise InvalidInput("holds no edit", field=f"{field}.edits")
    return Override(
        edits=tuple(_edit(each, f"{field}.edits[{index}]") for index, each in enumerate(edits)),
        members=members,
        selector=_selector(found["selector"], f"{field}.selector") if "selector" in found else None,
        targets=tuple(
            _target(each, f"{field}.targets[{index}]")
            for index, each in enumerate(_list(found.get("targets", ()), f"{field}.targets"))
        ),
    )


def _target(value: object, field: str) -> Target:
    found = _fields(value, field, ("apiVersion", "kind", "namespace", "name", "selector"))
    texts = {key: _text(found.get(key, ""), f"{field}.{key}") for key in found if key != "selector"}
    return Target(
        api_version=texts.get("apiVersion", ""),
        kind=texts.get("kind", ""),
        namespace=texts.get("namespace", ""),
        name=texts.get("name", ""),
        selector=_selector(found["selector"], f"{field}.selector") if "selector" in found else None,
    )


def _selector(value: object, field: str) -> Selector:
    found = _fields(value, field, ("matchLabels", "matchExpressions"))
    requirements = []
    for index, each in enumerate(_list(found.get("matchExpressions", ()), f"{field}.matchExpressions")):
        where = f"{field}.matchExpressions[{index}]"
        parts = _fields(each, where, ("key", "operator", "values"), ("key", "operator"))
        requirement = Requirement(
            _text(parts["key"], f"{where}.key"),
            _text(parts["operator"], f"{where}.operator"),
            _texts(parts.get("values", ()), f"{where}.values"),
        )
        if fault := requirement.fault():
            raise InvalidInput(fault, field=where)
        requirements.append(requirement)
    return Selector(_text_map(found.get("matchLabels", {}), f"{field}.matchLabels"), tuple(requirements))


def _edit(value: object, field: str) -> Edit:
    found = _fields(value, field, tuple(_READERS))
    if len(found) != 1:
        raise InvalidInput(
            f"holds {len(found)} edits, not one", field=field, hint="Write each as an entry of its own, in order."
        )
    (kind, written), *_ = found.items()
    return _READERS[kind](written, f"{field}.{kind}")


def _image(value: object, field: str) -> Edit:
    found = _fields(
        value, field, ("part", "operator", "value", "container", "paths"), required=("part", "operator")
    )
    part: Any = _one_of(found["part"], PARTS, f"{field}.part")
    operator: Any = _one_of(found["operator"], OPERATORS, f"{field}.operator")
    written = _text(found.get("value", ""), f"{field}.value")
    if (operator == "remove") == bool(written):
        raise InvalidInput(f"{operator} {'takes no' if written else 'needs a'} value", field=f"{field}.value")
    if operator == "remove" and part == "repository":
        raise InvalidInput("an image needs its repository", field=f"{field}.operator")
    container = _text(found.get("container", ""), f"{field}.container")
    paths = _texts(found.get("paths", ()), f"{field}.paths")
    if container and paths:
        raise InvalidInput("has a container and paths", field=field, hint="Give one of them.")
    for index, path in enumerate(paths):
        _pointer(path, f"{field}.paths[{index}]")
    return ImageEdit(part, operator, written, container, paths)


def _list_edit(part: Literal["command", "args"]) -> Callable[[object, str], Edit]:
    def read(value: object, field: str) -> Edit:
        names = ("container", "operator", "values")
        found = _fields(value, field, names, required=names)
        operator: Any = _one_of(found["operator"], OPERATORS, f"{field}.operator")
        container = _text(found["container"], f"{field}.container")
        if not container:
            raise InvalidInput("is empty", field=f"{field}.container", hint="Name the container.")
        return ListEdit(part, operator, _texts(found["values"], f"{field}.values"), container)

    return read


def _map_edit(part: Literal["labels", "annotations"]) -> Callable[[object, str], Edit]:
    def read(value: object, field: str) -> Edit:
        found = _fields(value, field, ("operator", "values", "keys"), required=("operator",))
        operator: Any = _one_of(found["operator"], OPERATORS, f"{field}.operator")
        wanted, other = ("keys", "values") if operator == "remove" else ("values", "keys")
        if wanted not in found or other in found:
            raise InvalidInput(f"{operator} takes {wanted}, not {other}", field=field)
        if operator == "remove":
            return MapEdit(part, operator, dict.fromkeys(_texts(found["keys"], f"{field}.keys"), ""))
        return MapEdit(part, operator, _text_map(found["values"], f"{field}.values"))

    return read


def _env(value: object, field: str) -> Edit:
    found = _fields(value, field, ("set", "remove", "container"))
    written = _map(found.get("set", {}), f"{field}.set")
    for name, entry in written.items():
        if not isinstance(entry, str | Mapping):
            raise InvalidInput(
                f"is {type_name(entry)}, not a text",
                field=f"{field}.set.{name}",
                hint="Quote it, or give a map such as {secretKeyRef: {name: n, key: k}}.",
            )
    removed = _texts(found.get("remove", ()), f"{field}.remove")
    if both := sorted({*written} & {*removed}):
        raise InvalidInput(f"sets and removes {both[0]}", field=field)
    return EnvEdit(written, removed, _text(found.get("container", ""), f"{field}.container"))


def _patch(value: object, field: str) -> Edit:
    return PatchEdit(_operations(value, field))


def _field(value: object, field: str) -> Edit:
    names = ("path", "format", "patch")
    found = _fields(value, field, names, required=names)
    format: Any = _one_of(found["format"], FORMATS, f"{field}.format")
    pointer = _pointer(found["path"], f"{field}.path")
    return TextEdit(pointer, format, _operations(found["patch"], f"{field}.patch"))


_READERS: dict[str, Callable[[object, str], Edit]] = {
    "image": _image,
    "command": _list_edit("command"),
    "args": _list_edit("args"),
    "labels": _map_edit("labels"),
    "annotations": _map_edit("annotations"),
    "env": _env,
    "jsonPatch": _patch,
    "field": _field,
}


def _operations(value: object, field: str) -> tuple[Mapping[str, Any], ...]:
    try:
        check_operations(value)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=f"{field}{error.field}", hint=error.hint) from error
    return tuple(_list(value, field))


def _pointer(value: object, field: str) -> str:
    text = _text(value, field)
    try:
        steps = split_pointer(text)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field, hint=error.hint) from error
    if not steps:
        raise InvalidInput("points to the whole object", field=field, hint="Such as /data/config.yaml.")
    return text


def _fields(
    value: object, field: str, known: tuple[str, ...], required: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    found = _map(value, field)
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            question = f"; did you mean {near[0]}?" if near else ""
            hint = "" if near else f"Known here: {', '.join(known)}."
            raise InvalidInput(f"unknown field{question}", field=f"{field}.{key}", hint=hint)
    for key in required:
        if key not in found:
            raise InvalidInput("is missing", field=f"{field}.{key}")
    return found


def _one_of(value: object, known: tuple[str, ...], field: str) -> str:
    text = _text(value, field)
    if text not in known:
        raise InvalidInput(f"{text!r} is not one of {', '.join(known)}", field=field)
    return text


def _map(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"is {type_name(value)}, not a map", field=field)
    for key in value:
        if not isinstance(key, str):
            raise InvalidInput(f"the key {key!r} is not a text", field=field)
    return value


def _list(value: object, field: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"is {type_name(value)}, not a list", field=field)
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"is {type_name(value)}, not a text", field=field)
    return value


def _texts(value: object, field: str) -> tuple[str, ...]:
    return tuple(_text(each, f"{field}[{index}]") for index, each in enumerate(_list(value, field)))


def _text_map(value: object, field: str) -> dict[str, str]:
    return {key: _text(each, f"{field}.{key}") for key, each in _map(value, field).items()}
