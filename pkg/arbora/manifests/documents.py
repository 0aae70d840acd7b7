"""What `apply -f` reads: Workload documents of ours, and plain Kubernetes objects beside them.

Our own fields are read strictly: an unknown one is an error with its path, its line and the nearest known
name. Inside a Kubernetes object every field is free, except that it needs apiVersion, kind and metadata.name,
and that labels, annotations and a ConfigMap's data are texts (`no` is a bool in YAML, and the API server
would only say so later, without a line). Lists are flattened. Pure: files and directories are the caller's.

Flow: text -> `strict_yaml.read_yaml` -> `read` -> `Documents` -> the client turns them into calls.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.objects import Manifest, ObjectRef, ref_of
from arbora.manifests.selectors import Requirement, Selector
from arbora.manifests.strict_yaml import FieldPath, YamlDocument, dump_yaml, read_yaml, type_name

API_VERSION = "arbora.dev/v1"
KIND = "Workload"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_BOOL_HINT = 'YAML reads y, yes, on, true, n, no, off and false as a bool; write "no" if you mean the text.'


@dataclass(frozen=True, slots=True)
class PlacementDocument:
    """Where a workload goes: to the union of what is listed and what is selected."""

    members: tuple[str, ...] = ()
    selector: Selector | None = None


@dataclass(frozen=True, slots=True)
class WorkloadDocument:
    """One Workload, as written."""

    name: str
    placement: PlacementDocument
    manifests: tuple[Manifest, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    source: str = field(default="", compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that one text holds, in order."""

    workloads: tuple[WorkloadDocument, ...] = ()
    objects: tuple[Manifest, ...] = ()
    """Kubernetes objects that no Workload holds."""


def read(text: str, source: str) -> Documents:
    """Read every document of `text`. `source` names it in errors. Raises InvalidDocument (an InvalidInput)."""
    workloads: list[WorkloadDocument] = []
    objects: list[Manifest] = []
    names: set[str] = set()
    for document in read_yaml(text, source):
        for path, value in _flat(document, (), document.value):
            if not _is_ours(value):
                objects.append(_object(document, path, value))
                continue
            workload = _workload(document, path, value)
            if workload.name in names:
                raise document.error((*path, "metadata", "name"), f"a second workload {workload.name!r}")
            names.add(workload.name)
            workloads.append(workload)
    return Documents(tuple(workloads), tuple(objects))


def dump(workload: WorkloadDocument) -> str:
    """`workload` as a YAML document that `read` reads back as the same."""
    metadata: dict[str, Any] = {"name": workload.name}
    if workload.labels:
        metadata["labels"] = dict(workload.labels)
    placement: dict[str, Any] = {}
    if workload.placement.members:
        placement["members"] = list(workload.placement.members)
    if (selector := workload.placement.selector) is not None:
        written: dict[str, Any] = {}
        placement["selector"] = written
        if selector.match_labels:
            written["matchLabels"] = dict(selector.match_labels)
        if selector.match_expressions:
            written["matchExpressions"] = [_expression(each) for each in selector.match_expressions]
    spec = {"placement": placement, "manifests": list(workload.manifests)}
    return dump_yaml([{"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}])


def _expression(requirement: Requirement) -> dict[str, Any]:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": requirement.operator, **values}


def _is_ours(value: Any) -> bool:
    group = str(value.get("apiVersion", "")).partition("/")[0] if isinstance(value, dict) else ""
    return group == API_VERSION.partition("/")[0]


def _flat(document: YamlDocument, path: FieldPath, value: Any) -> Iterator[tuple[FieldPath, Any]]:
    """`value`, or what it holds if it is a Kubernetes list."""
    if isinstance(value, dict) and str(value.get("kind", "")).endswith("List") and "items" in value:
        for index, item in enumerate(_list(document, (*path, "items"), value["items"])):
            yield from _flat(document, (*path, "items", index), item)
    else:
        yield path, value


def _workload(document: YamlDocument, path: FieldPath, value: Any) -> WorkloadDocument:
    fields = _fields(
        document, path, value, ("apiVersion", "kind", "metadata", "spec"), required=("kind", "metadata", "spec")
    )
    if fields["apiVersion"] != API_VERSION:
        raise document.error((*path, "apiVersion"), f"{fields['apiVersion']!r} is unknown; write {API_VERSION}")
    if fields["kind"] != KIND:
        raise document.error((*path, "kind"), f"{fields['kind']!r} is unknown; {API_VERSION} has only {KIND}")
    meta = (*path, "metadata")
    metadata = _fields(document, meta, fields["metadata"], ("name", "labels"), ("name",))
    name = _text(document, (*meta, "name"), metadata["name"])
    if not _NAME.fullmatch(name) or len(name) > 253:
        hint = "Use lower-case letters, digits and inner dashes, such as train-llm."
        raise document.error((*meta, "name"), f"{name!r} is not a valid name", hint=hint)
    where = (*path, "spec")
    spec = _fields(
        document, where, fields["spec"], ("placement", "manifests"), required=("placement", "manifests")
    )
    return WorkloadDocument(
        name=name,
        labels=_texts(document, (*meta, "labels"), metadata.get("labels", {})),
        placement=_placement(document, (*where, "placement"), spec["placement"]),
        manifests=_manifests(document, (*where, "manifests"), spec["manifests"]),
        source=document.source,
        line=document.line(path),
    )


def _placement(document: YamlDocument, path: FieldPath, value: Any) -> PlacementDocument:
    fields = _fields(document, path, value, ("members", "selector"))
    if not fields.get("members") and "selector" not in fields:
        raise document.error(
            path,
            "names neither members nor a selector",
            hint="List members, or write selector: {} for all of them.",
        )
    members = []
    for index, item in enumerate(_list(document, (*path, "members"), fields.get("members", []))):
        where = (*path, "members", index)
        member = _text(document, where, item)
        try:
            Path.parse(member)
        except InvalidInput as error:
            raise document.error(where, error.message, hint=error.hint) from error
        members.append(member)
    selector = _selector(document, (*path, "selector"), fields["selector"]) if "selector" in fields else None
    return PlacementDocument(tuple(members), selector)


def _selector(document: YamlDocument, path: FieldPath, value: Any) -> Selector:
    fields = _fields(document, path, value, ("matchLabels", "matchExpressions"))
    where = (*path, "matchExpressions")
    expressions = tuple(
        _requirement(document, (*where, index), item)
        for index, item in enumerate(_list(document, where, fields.get("matchExpressions", [])))
    )
    return Selector(_texts(document, (*path, "matchLabels"), fields.get("matchLabels", {})), expressions)


def _requirement(document: YamlDocument, path: FieldPath, value: Any) -> Requirement:
    fields = _fields(document, path, value, ("key", "operator", "values"), ("key", "operator"))
    values = (*path, "values")
    requirement = Requirement(
        _text(document, (*path, "key"), fields["key"]),
        _text(document, (*path, "operator"), fields["operator"]),
        tuple(
            _text(document, (*values, index), item)
            for index, item in enumerate(_list(document, values, fields.get("values", [])))
        ),
    )
    if fault := requirement.fault():
        raise document.error(path, fault)
    return requirement


def _manifests(document: YamlDocument, path: FieldPath, value: Any) -> tuple[Manifest, ...]:
    manifests: dict[ObjectRef, Manifest] = {}
    for index, item in enumerate(_list(document, path, value)):
        for where, each in _flat(document, (*path, index), item):
            manifest = _object(document, where, each)
            ref = ref_of(manifest)
            if ref in manifests:
                raise document.error(where, f"{ref} is there twice")
            manifests[ref] = manifest
    if not manifests:
        raise document.error(path, "holds no object")
    return tuple(manifests.values())


def _object(document: YamlDocument, path: FieldPath, value: Any) -> Manifest:
    """A Kubernetes object: named, and with texts where texts have to be."""
    manifest = _map(document, path, value)
    for key in ("apiVersion", "kind"):
        if not manifest.get(key):
            raise document.error(path, f"{key} is missing")
        _text(document, (*path, key), manifest[key])
    if "metadata" not in manifest:
        raise document.error(path, "metadata is missing", hint="Every object needs metadata.name.")
    _check_metadata(document, (*path, "metadata"), manifest["metadata"])
    name = manifest["metadata"].get("name")
    if not name:
        generated = "generateName" in manifest["metadata"]
        hint = "A generated name would make a new object at each repetition." if generated else ""
        raise document.error((*path, "metadata"), "name is missing", hint=hint)
    for key in ("name", "namespace"):
        if key in manifest["metadata"]:
            _text(document, (*path, "metadata", key), manifest["metadata"][key])
    spec = manifest.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("template"), dict) and spec["template"].get("metadata"):
        _check_metadata(document, (*path, "spec", "template", "metadata"), spec["template"]["metadata"])
    if manifest["kind"] == "ConfigMap" and manifest["apiVersion"] == "v1":
        _texts(document, (*path, "data"), manifest.get("data") or {})
    return manifest


def _check_metadata(document: YamlDocument, path: FieldPath, value: Any) -> None:
    metadata = _map(document, path, value)
    for key in ("labels", "annotations"):
        _texts(document, (*path, key), metadata.get(key) or {})


def _fields(
    document: YamlDocument, path: FieldPath, value: Any, known: tuple[str, ...], required: tuple[str, ...] = ()
) -> dict[str, Any]:
    fields = _map(document, path, value)
    for key in fields:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            question = f"; did you mean {near[0]}?" if near else ""
            hint = "" if near else f"Known here: {', '.join(known)}."
            raise document.error((*path, key), f"unknown field{question}", hint=hint)
    for key in required:
        if key not in fields:
            raise document.error(path, f"{key} is missing")
    return fields


def _map(document: YamlDocument, path: FieldPath, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise document.error(path, f"is {type_name(value)}, not a map")
    return value


def _list(document: YamlDocument, path: FieldPath, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise document.error(path, f"is {type_name(value)}, not a list")
    return value


def _text(document: YamlDocument, path: FieldPath, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise document.error(path, "is a bool, quote it", hint=_BOOL_HINT)
    if isinstance(value, int | float):
        raise document.error(path, "is a number, quote it", hint=f'Write "{value}" if you mean the text.')
    raise document.error(path, f"is {type_name(value)}, not a text")


def _texts(document: YamlDocument, path: FieldPath, value: Any) -> dict[str, str]:
    return {key: _text(document, (*path, key), item) for key, item in _map(document, path, value).items()}
