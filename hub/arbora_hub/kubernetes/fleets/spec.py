"""A Fleet as plain data, read from the object, with every field that is wrong. Pure.

The CRD's schema refuses most of that beforehand; what an older CRD lets through must not end anything here. A
Fleet with something wrong in it publishes nothing new and takes nothing back until it is corrected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.manifests.matching import matches
from arbora.manifests.selectors import Requirement, Selector
from arbora_hub.kubernetes.fleets.patterns import PathPattern

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
"""Of a Kubernetes label selector."""
MAX_PATHS = 256
MAX_NAMESPACES = 64
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a Fleet asks for."""

    name: str
    uid: str = ""
    generation: int = 0
    created: str = ""
    """When, as the API server writes it; it sorts as text."""
    selector: Selector | None = None
    """None: members are not chosen by labels."""
    paths: tuple[PathPattern, ...] = ()
    """Empty: members are not chosen by paths."""
    namespaces: tuple[str, ...] = ()
    """Where its members are published, sorted; none: nowhere."""
    cluster_set: str = ""
    faults: tuple[Fault, ...] = ()

    def selects(self, path: str, labels: Mapping[str, str]) -> bool:
        """Whether the member belongs to it. With neither labels nor paths given, none does."""
        if self.selector is None and not self.paths:
            return False
        by_labels = self.selector is None or matches(self.selector, labels)
        return by_labels and (not self.paths or any(one.matches(path) for one in self.paths))


def read_fleet(body: Raw) -> Fleet:
    """Read an object; what is wrong is in `faults`, and left out."""
    metadata = body["metadata"]
    name = str(metadata["name"])
    spec = body.get("spec")
    faults: list[Fault] = []
    if not isinstance(spec, Mapping):
        spec = {}
        faults.append(Fault("spec", "is missing"))
    cluster_set = spec.get("clusterSet") or name
    if not isinstance(cluster_set, str) or not _LABEL_VALUE.fullmatch(cluster_set):
        field = "spec.clusterSet" if spec.get("clusterSet") else "metadata.name"
        faults.append(Fault(field, f"{cluster_set!r} can't be the value of a label, so it names no ClusterSet"))
        cluster_set = ""
    return Fleet(
        name,
        str(metadata.get("uid", "")),
        int(metadata.get("generation", 0)),
        str(metadata.get("creationTimestamp", "")),
        _selector(spec.get("selector"), faults),
        tuple(_patterns(spec.get("paths"), faults)),
        tuple(sorted(set(_namespaces(spec.get("namespaces"), faults)))),
        cluster_set,
        tuple(faults),
    )


def _selector(given: Any, faults: list[Fault]) -> Selector | None:
    """None where it is missing or empty."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        faults.append(Fault("spec.selector", "is not a label selector"))
        return None
    labels: dict[str, str] = {}
    for key, value in _mapping(given.get("matchLabels"), "spec.selector.matchLabels", faults).items():
        if isinstance(value, str):
            labels[str(key)] = value
        else:
            faults.append(Fault(f"spec.selector.matchLabels[{key}]", "is not a string"))
    expressions = []
    for index, one in enumerate(_list(given.get("matchExpressions"), "spec.selector.matchExpressions", faults)):
        field = f"spec.selector.matchExpressions[{index}]"
        if not isinstance(one, Mapping) or not isinstance(one.get("key"), str) or not one["key"]:
            faults.append(Fault(field, "needs a key"))
            continue
        values = one.get("values") or ()
        if not isinstance(values, Sequence) or not all(isinstance(value, str) for value in values):
            faults.append(Fault(f"{field}.values", "is not a list of strings"))
            continue
        requirement = Requirement(one["key"], str(one.get("operator", "")), tuple(values))
        wrong = requirement.fault()
        if not wrong and requirement.operator not in OPERATORS:
            wrong = f"the operator {requirement.operator!r} is not one of {', '.join(OPERATORS)}"
        if wrong:
            faults.append(Fault(field, wrong))
        else:
            expressions.append(requirement)
    return Selector(labels, tuple(expressions)) if labels or expressions else None


def _patterns(given: Any, faults: list[Fault]) -> Sequence[PathPattern]:
    found = []
    for index, text in enumerate(_list(given, "spec.paths", faults, MAX_PATHS)):
        field = f"spec.paths[{index}]"
        try:
            if not isinstance(text, str):
                raise InvalidInput("is not a string", field=field)
            found.append(PathPattern.parse(text, field))
        except InvalidInput as error:
            faults.append(Fault(field, error.message))
    return found


def _namespaces(given: Any, faults: list[Fault]) -> Sequence[str]:
    found = []
    for index, text in enumerate(_list(given, "spec.namespaces", faults, MAX_NAMESPACES)):
        field = f"spec.namespaces[{index}]"
        try:
            found.append(check_name(str(text), field))
        except InvalidInput as error:
            faults.append(Fault(field, error.message))
    return found


def _list(given: Any, field: str, faults: list[Fault], most: int = 256) -> Sequence[Any]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        faults.append(Fault(field, "is not a list"))
        return ()
    if len(given) > most:
        faults.append(Fault(field, f"has {len(given)} entries, and {most} are the most"))
    return given[:most]


def _mapping(given: Any, field: str, faults: list[Fault]) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        faults.append(Fault(field, "is not a mapping"))
        return {}
    return given
