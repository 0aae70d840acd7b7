"""What an override can change in one object, and how each change is made.

For: `overrides.py`, which decides where an edit applies. An edit knows nothing of members or other objects. All
but `add` on lists and texts and JSON patches are set-like: made twice they change nothing more. Pure; the object
that comes in is a private copy and is changed in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from arbora.errors import InvalidInput
from arbora.manifests.image import Image
from arbora.manifests.json_patch import apply_patch, look_up, plain, split_pointer
from arbora.manifests.nested import patch_text
from arbora.manifests.strict_yaml import type_name

Operator = Literal["add", "remove", "replace"]
OPERATORS: tuple[Operator, ...] = ("add", "remove", "replace")

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class ImageEdit:
    """Changes one part of images. `add` appends to the part where an image has it, `remove` takes it away."""

    part: Literal["registry", "repository", "tag", "digest"]
    operator: Operator
    value: str = ""
    container: str = ""
    """Only in containers of this name; empty: in all of them, init and ephemeral ones too."""
    paths: tuple[str, ...] = ()
    """JSON pointers to texts that name images, instead of containers."""


@dataclass(frozen=True, slots=True)
class ListEdit:
    """Changes the command or the arguments of a container."""

    part: Literal["command", "args"]
    operator: Operator
    values: tuple[str, ...]
    container: str


@dataclass(frozen=True, slots=True)
class MapEdit:
    """Changes the object's labels or annotations. `add` sets; `replace` sets only what is there already."""

    part: Literal["labels", "annotations"]
    operator: Operator
    values: Mapping[str, str]
    """For `remove` only the keys count."""


@dataclass(frozen=True, slots=True)
class EnvEdit:
    """Sets and removes environment variables of containers."""

    set: Mapping[str, str | Mapping[str, Any]]
    """By name: a text, or a map that stands for `valueFrom`."""
    remove: tuple[str, ...] = ()
    container: str = ""
    """Only in containers of this name; empty: in all of them, init and ephemeral ones too."""


@dataclass(frozen=True, slots=True)
class PatchEdit:
    """A JSON patch (RFC 6902) of the whole object."""

    operations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class TextEdit:
    """A JSON patch of a JSON or YAML document that is a text in the object, such as a ConfigMap's file."""

    pointer: str
    format: Literal["json", "yaml"]
    operations: tuple[Mapping[str, Any], ...]


Edit = ImageEdit | ListEdit | MapEdit | EnvEdit | PatchEdit | TextEdit


def describe(edit: Edit) -> str:
    """What the edit does, without values that may be secret: `replace image registry`."""
    match edit:
        case ImageEdit():
            return f"{edit.operator} image {edit.part}"
        case ListEdit():
            return f"{edit.operator} {edit.part} of container {edit.container}"
        case MapEdit():
            return f"{edit.operator} {edit.part} {', '.join(sorted(edit.values))}"
        case EnvEdit():
            return f"env {', '.join(sorted({*edit.set, *edit.remove}))}"
        case PatchEdit():
            return "jsonPatch"
        case TextEdit():
            return f"field {edit.pointer}"
        case _:
            assert_never(edit)


def key_of(edit: Edit) -> str:
    """The field that holds the edit where it is written: `image`, `labels`, `jsonPatch`."""
    match edit:
        case ImageEdit():
            return "image"
        case ListEdit() | MapEdit():
            return edit.part
        case EnvEdit():
            return "env"
        case PatchEdit():
            return "jsonPatch"
        case TextEdit():
            return "field"
        case _:
            assert_never(edit)


def apply_edit(edit: Edit, manifest: dict[str, Any]) -> dict[str, Any]:
    """`manifest` after the edit; may be the same, changed.

    Raises InvalidInput if the edit doesn't fit; its field is what follows `key_of`, such as `[1].path`.
    """
    match edit:
        case ImageEdit():
            return _edit_images(edit, manifest)
        case ListEdit():
            for container in _containers(manifest, edit.container):
                _edit_list(edit, container)
            return manifest
        case MapEdit():
            return _edit_map(edit, manifest)
        case EnvEdit():
            for container in _containers(manifest, edit.container):
                _edit_env(edit, container)
            return manifest
        case PatchEdit():
            patched = apply_patch(manifest, edit.operations)
            if not isinstance(patched, dict):
                raise InvalidInput(f"makes the object {type_name(patched)}")
            return patched
        case TextEdit():
            try:
                text = _text_at(manifest, edit.pointer)
            except InvalidInput as error:
                raise InvalidInput(error.message, field=".path", hint=error.hint) from error
            try:
                changed = patch_text(text, edit.format, edit.operations)
            except InvalidInput as error:
                operation = f".patch{error.field}" if error.field else ""
                raise InvalidInput(
                    f"{edit.pointer}: {error.message}", field=operation, hint=error.hint
                ) from error
            return _with_text(manifest, edit.pointer, changed)
        case _:
            assert_never(edit)


def _containers(manifest: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The containers of every pod spec in the object, of any kind; with a name, those that have it."""
    waiting: list[Any] = [value for key, value in manifest.items() if key not in ("metadata", "status")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            if _is_pod_spec(value):
                for part in _CONTAINER_LISTS:
                    held = value.get(part) or []
                    if not isinstance(held, list):
                        raise InvalidInput(f"{part} is {type_name(held)}, not a list")
                    for container in held:
                        if not isinstance(container, dict):
                            raise InvalidInput(f"{part} holds {type_name(container)}, not a container")
                        if not name or container.get("name") == name:
                            yield container
            else:
                waiting.extend(reversed(list(value.values())))


def _is_pod_spec(value: Mapping[str, Any]) -> bool:
    containers = value.get("containers")
    return isinstance(containers, list) and all(isinstance(each, dict) for each in containers)


def _edit_images(edit: ImageEdit, manifest: dict[str, Any]) -> dict[str, Any]:
    for pointer in edit.paths:
        manifest = _with_text(manifest, pointer, _image(edit, _text_at(manifest, pointer)))
    if not edit.paths:
        for container in _containers(manifest, edit.container):
            if "image" in container:  # a container of a patch (TrainJob) has none
                container["image"] = _image(edit, container["image"])
    return manifest


def _image(edit: ImageEdit, written: object) -> str:
    if not isinstance(written, str):
        raise InvalidInput(f"an image is {type_name(written)}, not a text")
    image = Image.parse(written)
    before: str = getattr(image, edit.part)
    if edit.operator == "add" and not before:
        return written  # nothing to append to; the engine's default is not ours to know
    after = {"add": before + edit.value, "replace": edit.value, "remove": ""}[edit.operator]
    return str(image.with_part(edit.part, after))


def _edit_list(edit: ListEdit, container: dict[str, Any]) -> None:
    before = container.get(edit.part) or []
    if not isinstance(before, list):
        raise InvalidInput(f"{edit.part} of container {edit.container} is {type_name(before)}, not a list")
    after = {
        "add": [*before, *edit.values],
        "remove": [value for value in before if value not in edit.values],
        "replace": list(edit.values),
    }[edit.operator]
    if after:
        container[edit.part] = after
    else:  # absent and empty mean the same: what the image says
        container.pop(edit.part, None)


def _edit_map(edit: MapEdit, manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict):
        raise InvalidInput("has no metadata")
    before = metadata.get(edit.part) or {}
    if not isinstance(before, dict):
        raise InvalidInput(f"metadata.{edit.part} is {type_name(before)}, not a map")
    if edit.operator == "remove":
        after = {key: value for key, value in before.items() if key not in edit.values}
    else:
        also = {k: v for k, v in edit.values.items() if edit.operator == "add" or k in before}
        after = {**before, **also}
    if after:
        metadata[edit.part] = after
    else:
        metadata.pop(edit.part, None)
    return manifest


def _edit_env(edit: EnvEdit, container: dict[str, Any]) -> None:
    before = container.get("env") or []
    if not isinstance(before, list) or not all(isinstance(each, dict) for each in before):
        raise InvalidInput("env is not a list of variables")
    missing = dict(edit.set)
    after = []
    for entry in before:
        name = entry.get("name")
        if not isinstance(name, str):
            raise InvalidInput("env holds a variable without a name")
        if name in missing:
            after.append(_variable(name, missing.pop(name)))
        elif name not in edit.set and name not in edit.remove:
            after.append(entry)
    after += [_variable(name, value) for name, value in sorted(missing.items())]
    if after:
        container["env"] = after
    else:
        container.pop("env", None)


def _variable(name: str, value: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "value": value} if isinstance(value, str) else {"name": name, "valueFrom": plain(value)}


def _text_at(manifest: Mapping[str, Any], pointer: str) -> str:
    found = look_up(manifest, split_pointer(pointer))
    if not isinstance(found, str):
        raise InvalidInput(f"{pointer} is {type_name(found)}, not a text")
    return found


def _with_text(manifest: dict[str, Any], pointer: str, text: str) -> dict[str, Any]:
    changed: dict[str, Any] = apply_patch(manifest, [{"op": "replace", "path": pointer, "value": text}])
    return changed
