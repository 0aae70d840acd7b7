"""Is what a client submits a workload? Validates a WorkloadSpec and reads its placement. Pure."""

from __future__ import annotations

import re

from arbora.errors import InvalidInput
from arbora.identity.names import Path, check_name
from arbora.manifests.objects import from_json, ref_of, to_json
from arbora.manifests.selectors import Requirement, Selector
from arbora.v1 import workload_pb2 as pb
from arbora_hub.placement.choose import Wish

MAX_MANIFESTS = 500
MAX_BYTES = 4 * 1024 * 1024
"""All manifests of a workload together."""

_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def check_labels(labels: dict[str, str], field: str) -> dict[str, str]:
    """Return `labels` if they are valid Kubernetes labels, else raise InvalidInput naming the one that isn't."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise InvalidInput(
                f"{key!r} is not a label key", field=field, hint="Such as gpu or example.org/zone."
            )
        if not _LABEL_VALUE.fullmatch(value):
            raise InvalidInput(
                f"{value!r} is not a label value", field=f"{field}.{key}", hint="At most 63 of A-Z a-z 0-9 - _ ."
            )
    return labels


def read_placement(placement: pb.Placement, own_path: Path) -> Wish:
    """The wish behind a placement. Raises InvalidInput naming the field."""
    members: list[str] = []
    for index, text in enumerate(placement.members):
        field = f"spec.placement.members[{index}]"
        path = Path.parse(text, field)
        below = path.relative_to(own_path) if text.startswith("/") else path
        if below is None or len(below.labels) != 1:
            raise InvalidInput(f"{text!r} is not a child of this hub", field=field)
        members.append(below.labels[0])
    if not placement.HasField("selector"):
        if not members:
            raise InvalidInput(
                "lists no members and has no selector",
                field="spec.placement",
                hint="Give members: [name] or selector: {matchLabels: {gpu: h100}}.",
            )
        return Wish(tuple(dict.fromkeys(members)))
    selector = placement.selector
    expressions = []
    for index, entry in enumerate(selector.match_expressions):
        requirement = Requirement(entry.key, entry.operator, tuple(entry.values))
        fault = requirement.fault()
        if fault or not entry.key:
            raise InvalidInput(fault or "has no key", field=f"spec.placement.selector.matchExpressions[{index}]")
        expressions.append(requirement)
    labels = check_labels(dict(selector.match_labels), "spec.placement.selector.matchLabels")
    return Wish(tuple(dict.fromkeys(members)), Selector(labels, tuple(expressions)))


def read_manifests(manifests: list[bytes]) -> tuple[bytes, ...]:
    """Each manifest as canonical JSON. Raises InvalidInput naming the one that is wrong."""
    if not manifests:
        raise InvalidInput("holds nothing", field="spec.manifests", hint="List the Kubernetes objects to run.")
    if len(manifests) > MAX_MANIFESTS:
        raise InvalidInput(f"holds {len(manifests)} objects, {MAX_MANIFESTS} at most", field="spec.manifests")
    if sum(map(len, manifests)) > MAX_BYTES:
        raise InvalidInput(
            f"holds {sum(map(len, manifests))} bytes, {MAX_BYTES} at most",
            field="spec.manifests",
            hint="Split the workload.",
        )
    seen: dict[object, int] = {}
    canonical = []
    for index, data in enumerate(manifests):
        field = f"spec.manifests[{index}]"
        manifest = from_json(data, field)
        ref = ref_of(manifest, field)
        if ref in seen:
            raise InvalidInput(f"names {ref} again, as spec.manifests[{seen[ref]}] does", field=field)
        seen[ref] = index
        canonical.append(to_json(manifest))
    return tuple(canonical)


def without_secrets(manifest: bytes) -> bytes:
    """The manifest as a viewer may see it: the values of a Secret are left out, its keys stay."""
    data = from_json(manifest)
    if data.get("kind") != "Secret":
        return manifest
    for field in ("data", "stringData"):
        if isinstance(data.get(field), dict):
            data[field] = dict.fromkeys(data[field], "")
    annotations = data.get("metadata", {}).get("annotations")
    if isinstance(annotations, dict):
        # kubectl keeps the whole object, values included, in one of them
        data["metadata"]["annotations"] = dict.fromkeys(annotations, "")
    return to_json(data)


def check_workload_name(name: str) -> str:
    """Return `name` if it is a DNS-1123 label. Raises InvalidInput."""
    return check_name(name, "metadata.name")
