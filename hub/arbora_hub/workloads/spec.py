"""Is what a client submits a workload? Validates its name and its manifests. Pure."""

from __future__ import annotations

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.manifests.objects import Manifest, from_json, ref_of, to_json

MAX_MANIFESTS = 500
MAX_BYTES = 4 * 1024 * 1024
"""All manifests of a workload together."""


def read_objects(manifests: list[bytes]) -> tuple[Manifest, ...]:
    """Each manifest as data. Raises InvalidInput naming the one that is wrong."""
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
    objects = []
    for index, data in enumerate(manifests):
        field = f"spec.manifests[{index}]"
        manifest = from_json(data, field)
        ref = ref_of(manifest, field)
        if ref in seen:
            raise InvalidInput(f"names {ref} again, as spec.manifests[{seen[ref]}] does", field=field)
        seen[ref] = index
        objects.append(manifest)
    return tuple(objects)


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
