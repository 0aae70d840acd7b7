"""One Kubernetes object as plain data, and the name by which it is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbora.errors import InvalidInput

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON-like data. Treated as read-only everywhere."""


@dataclass(frozen=True, slots=True, order=True)
class Gvk:
    """A Kubernetes kind with its API version."""

    api_version: str
    kind: str

    @property
    def group(self) -> str:
        """The API group; empty for core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version inside the group."""
        return self.api_version.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Names one object in one cluster. `namespace` is empty for a cluster-scoped object."""

    gvk: Gvk
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.gvk.kind} {where}{self.name}"


def ref_of(manifest: Manifest, field: str = "manifest") -> ObjectRef:
    """The reference of `manifest`, with its namespace as written. Raises InvalidInput naming the field."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping):
        raise InvalidInput("has no metadata", field=field, hint="Every object needs metadata.name.")
    values = {
        "apiVersion": manifest.get("apiVersion"),
        "kind": manifest.get("kind"),
        "metadata.name": metadata.get("name"),
    }
    for key, value in values.items():
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"{key} is missing or not a string", field=f"{field}.{key}")
    namespace = metadata.get("namespace", "")
    if not isinstance(namespace, str):
        raise InvalidInput("is not a string", field=f"{field}.metadata.namespace")
    return ObjectRef(Gvk(values["apiVersion"], values["kind"]), namespace, values["metadata.name"])  # type: ignore[arg-type]


def to_json(manifest: Manifest) -> bytes:
    """The canonical bytes of `manifest`: sorted keys, no spaces, UTF-8. Equal data, equal bytes."""
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def from_json(data: bytes, field: str = "manifest") -> dict[str, Any]:
    """Read one object. Raises InvalidInput if `data` is not a JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"is not JSON: {error}", field=field) from error
    if not isinstance(value, dict):
        raise InvalidInput("is not a JSON object", field=field)
    return value
