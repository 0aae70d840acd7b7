"""What `apply -f` reads: Workload documents of ours, plain Kubernetes objects beside them, and Fleets.

Our own fields are read strictly: an unknown one is an error with its path, its line and the nearest known
name. Inside a Kubernetes object every field is free, except that it needs apiVersion, kind and metadata.name,
and that labels, annotations and a ConfigMap's data are texts (`no` is a bool in YAML, and the API server
would only say so later, without a line). Lists are flattened. Pure: files and directories are the caller's.

Flow: text -> `strict_yaml.read_yaml` -> `read` -> `Documents` -> the client turns them into calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from arbora.manifests.fields import a_list, a_map, a_text, known_fields, text_map
from arbora.manifests.fleet_document import FLEET, FleetDocument, read_fleet
from arbora.manifests.objects import Manifest, ObjectRef, ref_of
from arbora.manifests.placement_document import (
    PlacementDocument,
    check_overrides,
    read_placement,
    write_placement,
)
from arbora.manifests.strict_yaml import FieldPath, YamlDocument, dump_yaml, read_yaml

API_VERSION = "arbora.dev/v1"
KIND = "Workload"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class WorkloadDocument:
    """One Workload, as written."""

    name: str
    placement: PlacementDocument
    manifests: tuple[Manifest, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[Mapping[str, Any], ...] = ()
    """What is different in some members, as plain data; see `override_reading.py`."""
    source: str = field(default="", compare=False)
    line: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that one text holds, in order."""

    workloads: tuple[WorkloadDocument, ...] = ()
    objects: tuple[Manifest, ...] = ()
    """Kubernetes objects that no Workload holds."""
    fleets: tuple[FleetDocument, ...] = ()
    """For simulations."""


def read(text: str, source: str) -> Documents:
    """Read every document of `text`. `source` names it in errors. Raises InvalidDocument (an InvalidInput)."""
    workloads: list[WorkloadDocument] = []
    objects: list[Manifest] = []
    fleets: list[FleetDocument] = []
    names: set[str] = set()
    for document in read_yaml(text, source):
        for path, value in _flat(document, (), document.value):
            if not _is_ours(value):
                objects.append(_object(document, path, value))
                continue
            kind = _our_kind(document, path, value)
            if kind == FLEET:
                fleets.append(read_fleet(document, path, value))
                continue
            workload = _workload(document, path, value)
            if workload.name in names:
                raise document.error((*path, "metadata", "name"), f"a second workload {workload.name!r}")
            names.add(workload.name)
            workloads.append(workload)
    return Documents(tuple(workloads), tuple(objects), tuple(fleets))


def dump(workload: WorkloadDocument) -> str:
    """`workload` as a YAML document that `read` reads back as the same."""
    return dump_yaml([as_plain(workload)])


def as_plain(workload: WorkloadDocument) -> dict[str, Any]:
    """`workload` as plain data, as it stands in a file."""
    metadata: dict[str, Any] = {"name": workload.name}
    if workload.labels:
        metadata["labels"] = dict(workload.labels)
    spec: dict[str, Any] = {"placement": write_placement(workload.placement)}
    if workload.overrides:
        spec["overrides"] = list(workload.overrides)
    spec["manifests"] = list(workload.manifests)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _is_ours(value: Any) -> bool:
    group = str(value.get("apiVersion", "")).partition("/")[0] if isinstance(value, dict) else ""
    return group == API_VERSION.partition("/")[0]


def _flat(document: YamlDocument, path: FieldPath, value: Any) -> Iterator[tuple[FieldPath, Any]]:
    """`value`, or what it holds if it is a Kubernetes list."""
    if isinstance(value, dict) and str(value.get("kind", "")).endswith("List") and "items" in value:
        for index, item in enumerate(a_list(document, (*path, "items"), value["items"])):
            yield from _flat(document, (*path, "items", index), item)
    else:
        yield path, value


def _our_kind(document: YamlDocument, path: FieldPath, value: Mapping[str, Any]) -> str:
    if value["apiVersion"] != API_VERSION:
        raise document.error((*path, "apiVersion"), f"{value['apiVersion']!r} is unknown; write {API_VERSION}")
    if "kind" not in value:
        raise document.error(path, "kind is missing")
    if (kind := value["kind"]) not in (KIND, FLEET):
        raise document.error((*path, "kind"), f"{kind!r} is unknown; {API_VERSION} has {KIND} and {FLEET}")
    return str(kind)


def _workload(document: YamlDocument, path: FieldPath, value: Any) -> WorkloadDocument:
    fields = known_fields(
        document, path, value, ("apiVersion", "kind", "metadata", "spec"), required=("kind", "metadata", "spec")
    )
    meta = (*path, "metadata")
    metadata = known_fields(document, meta, fields["metadata"], ("name", "labels"), ("name",))
    name = a_text(document, (*meta, "name"), metadata["name"])
    if not _NAME.fullmatch(name) or len(name) > 253:
        hint = "Use lower-case letters, digits and inner dashes, such as train-llm."
        raise document.error((*meta, "name"), f"{name!r} is not a valid name", hint=hint)
    where = (*path, "spec")
    spec = known_fields(
        document, where, fields["spec"], ("placement", "overrides", "manifests"), ("placement", "manifests")
    )
    return WorkloadDocument(
        name=name,
        labels=text_map(document, (*meta, "labels"), metadata.get("labels", {})),
        placement=read_placement(document, (*where, "placement"), spec["placement"]),
        overrides=check_overrides(document, (*where, "overrides"), spec.get("overrides", [])),
        manifests=_manifests(document, (*where, "manifests"), spec["manifests"]),
        source=document.source,
        line=document.line(path),
    )


def _manifests(document: YamlDocument, path: FieldPath, value: Any) -> tuple[Manifest, ...]:
    manifests: dict[ObjectRef, Manifest] = {}
    for index, item in enumerate(a_list(document, path, value)):
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
    manifest = a_map(document, path, value)
    for key in ("apiVersion", "kind"):
        if not manifest.get(key):
            raise document.error(path, f"{key} is missing")
        a_text(document, (*path, key), manifest[key])
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
            a_text(document, (*path, "metadata", key), manifest["metadata"][key])
    spec = manifest.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("template"), dict) and spec["template"].get("metadata"):
        _check_metadata(document, (*path, "spec", "template", "metadata"), spec["template"]["metadata"])
    if manifest["kind"] == "ConfigMap" and manifest["apiVersion"] == "v1":
        text_map(document, (*path, "data"), manifest.get("data") or {})
    return manifest


def _check_metadata(document: YamlDocument, path: FieldPath, value: Any) -> None:
    metadata = a_map(document, path, value)
    for key in ("labels", "annotations"):
        text_map(document, (*path, key), metadata.get(key) or {})
