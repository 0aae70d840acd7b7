"""What a real API server would refuse, roughly, and what it would fill in. Pure.

For `objects.py`, before anything is stored. The messages are worded like the API server's, because people search
for them. Not a full validation: what it lets through does nothing harmful in a simulation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from arbora.capacity.pod import is_gpu
from arbora.capacity.quantity import parse
from arbora.errors import InvalidInput
from arbora.manifests.objects import ObjectRef
from arbora_agent.cluster.port import ObjectRejected
from arbora_agent.cluster.simulated.pods import SECONDS_ANNOTATION, template_of

MAX_PODS = 10_000
"""Pods that one object may ask for."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KINDS = frozenset({"Namespace", "Service"})
_FREE_NAMES = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})
_SELECTING = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
_IMMUTABLE = {
    "Job": ("template", "selector", "completionMode"),
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "volumeClaimTemplates"),
    "DaemonSet": ("selector",),
    "ReplicaSet": ("selector",),
    "Pod": ("containers", "nodeSelector", "nodeName", "restartPolicy"),
    "PersistentVolumeClaim": ("storageClassName", "accessModes"),
}


def check(ref: ObjectRef, body: Mapping[str, Any]) -> None:
    """Raise ObjectRejected if a new or changed object is wrong in itself."""
    _check_name(ref)
    _check_labels(ref, body)
    spec = _mapping(ref, body, "spec")
    kind = ref.gvk.kind
    if kind in ("ConfigMap", "Secret"):
        for key, value in _mapping(ref, body, "data").items():
            if not isinstance(value, str):
                raise _invalid(ref, f"data[{key}]", value, "must be a string")
    for field in ("replicas", "parallelism", "completions"):
        _check_count(ref, spec, field)
    if kind == "CustomResourceDefinition":
        _check_definition(ref, spec)
    _mapping(ref, spec, "resources", "spec.")
    if template_of(kind, body) is not None:
        _check_pods(ref, body)
    if kind in _SELECTING:
        _check_selector(ref, spec)


def check_change(ref: ObjectRef, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise ObjectRejected if a change touches a field that can't change."""
    old, new = before.get("spec", {}), after.get("spec", {})
    for field in _IMMUTABLE.get(ref.gvk.kind, ()):
        if field in old and old[field] != new.get(field):
            raise _invalid(ref, f"spec.{field}", new.get(field), "field is immutable")


def with_defaults(ref: ObjectRef, body: dict[str, Any], address: str) -> dict[str, Any]:
    """`body` as the server stores it, with the defaults that clients notice. `address`: for a new Service."""
    kind = ref.gvk.kind
    defaults: dict[str, Any] = {}
    spec = body.get("spec", {})
    if kind in ("Deployment", "StatefulSet", "ReplicaSet"):
        defaults = {"replicas": 1}
    elif kind == "Job":
        parallelism = spec.get("parallelism", 1)
        defaults = {"parallelism": 1, "completions": parallelism, "backoffLimit": 6, "suspend": False}
    elif kind == "Service" and spec.get("type") != "ExternalName":
        defaults = {"type": "ClusterIP", "clusterIP": address, "sessionAffinity": "None"}
    elif kind == "Namespace":
        defaults = {"finalizers": ["kubernetes"]}
    if defaults:
        body["spec"] = {**defaults, **spec}
    return body


def _check_name(ref: ObjectRef) -> None:
    kind = ref.gvk.kind
    if kind in _FREE_NAMES:
        if ref.name in (".", "..") or "/" in ref.name or "%" in ref.name:
            raise _invalid(ref, "metadata.name", ref.name, "may not contain '/' or '%'")
    elif kind in _LABEL_KINDS:
        if len(ref.name) > 63 or not _LABEL.fullmatch(ref.name):
            raise _invalid(
                ref,
                "metadata.name",
                ref.name,
                "a lowercase RFC 1123 label must consist of lower case "
                "alphanumeric characters or '-', and must start and end with an alphanumeric character",
            )
    elif len(ref.name) > 253 or not _SUBDOMAIN.fullmatch(ref.name):
        raise _invalid(
            ref,
            "metadata.name",
            ref.name,
            "a lowercase RFC 1123 subdomain must consist of lower case "
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        )


def _check_labels(ref: ObjectRef, body: Mapping[str, Any]) -> None:
    metadata = _mapping(ref, body, "metadata")
    for field in ("labels", "annotations"):
        for key, value in _mapping(ref, metadata, field, "metadata.").items():
            if not isinstance(value, str):
                raise _invalid(ref, f"metadata.{field}[{key}]", value, "must be a string")
            if field == "labels" and not _LABEL_VALUE.fullmatch(value):
                raise _invalid(
                    ref,
                    f"metadata.labels[{key}]",
                    value,
                    "a valid label must be an empty string or "
                    "consist of alphanumeric characters, '-', '_' or '.'",
                )


def _check_count(ref: ObjectRef, spec: Mapping[str, Any], field: str) -> None:
    value = spec.get(field)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid(ref, f"spec.{field}", value, "must be an integer")
    if value < 0:
        raise _invalid(ref, f"spec.{field}", value, "must be greater than or equal to 0")
    if value > MAX_PODS:
        raise _invalid(
            ref, f"spec.{field}", value, f"a simulated cluster runs at most {MAX_PODS} pods of one object"
        )


def _check_pods(ref: ObjectRef, body: Mapping[str, Any]) -> None:
    kind, spec = ref.gvk.kind, body.get("spec", {})
    path = "spec" if kind == "Pod" else "spec.template.spec"
    template = body if kind == "Pod" else _mapping(ref, spec, "template", "spec.")
    pod = _mapping(ref, template, "spec", path.removesuffix("spec"))
    if not pod.get("containers"):
        raise _required(ref, f"{path}.containers")
    if kind == "Job" and pod.get("restartPolicy") not in ("Never", "OnFailure"):
        raise _required(ref, f"{path}.restartPolicy", ': valid values: "OnFailure", "Never"')
    for key, value in _mapping(ref, pod, "nodeSelector", f"{path}.").items():
        if not isinstance(value, str):
            raise _invalid(ref, f"{path}.nodeSelector[{key}]", value, "must be a string")
    if not isinstance(pod.get("nodeName", ""), str):
        raise _invalid(ref, f"{path}.nodeName", pod["nodeName"], "must be a string")
    for list_name in ("containers", "initContainers"):
        found = pod.get(list_name) or []
        if not isinstance(found, list):
            raise _invalid(ref, f"{path}.{list_name}", found, "must be a list")
        for index, container in enumerate(found):
            where = f"{path}.{list_name}[{index}]"
            if not isinstance(container, Mapping):
                raise _invalid(ref, where, container, "must be an object")
            for field in ("name", "image"):
                if not container.get(field):
                    raise _required(ref, f"{where}.{field}")
            _check_resources(ref, where, container)
    _check_resources(ref, path, pod)
    _check_quantities(ref, f"{path}.overhead", _mapping(ref, pod, "overhead", f"{path}."))
    for holder, prefix in ((body, ""), (template, path.removesuffix(".spec") + ".")):
        annotations = _mapping(
            ref, _mapping(ref, holder, "metadata", prefix), "annotations", f"{prefix}metadata."
        )
        text = annotations.get(SECONDS_ANNOTATION)
        if text is not None and not _is_duration(text):
            raise _invalid(
                ref, f"metadata.annotations[{SECONDS_ANNOTATION}]", text, "must be a number of seconds"
            )


def _check_resources(ref: ObjectRef, where: str, holder: Mapping[str, Any]) -> None:
    resources = _mapping(ref, holder, "resources", f"{where}.")
    for part in ("limits", "requests"):
        quantities = _mapping(ref, resources, part, f"{where}.resources.")
        _check_quantities(ref, f"{where}.resources.{part}", quantities)


def _check_quantities(ref: ObjectRef, where: str, quantities: Mapping[str, Any]) -> None:
    for name, quantity in quantities.items():
        if not isinstance(quantity, (str, int, float)):
            raise _invalid(ref, f"{where}[{name}]", quantity, "must be a quantity")
        try:
            parse(quantity)
        except InvalidInput as error:
            raise _invalid(ref, f"{where}[{name}]", quantity, error.message) from error
        if is_gpu(name) and not re.fullmatch(r"\d{1,6}", str(quantity)):
            raise _invalid(ref, f"{where}[{name}]", quantity, "must be an integer")


def _check_definition(ref: ObjectRef, spec: Mapping[str, Any]) -> None:
    names = _mapping(ref, spec, "names", "spec.")
    for field, value in (("group", spec.get("group")), ("names.kind", names.get("kind"))):
        if not isinstance(value, str) or not value:
            raise _required(ref, f"spec.{field}")
    plural, versions = names.get("plural"), spec.get("versions")
    if ref.name != f"{plural}.{spec['group']}":
        raise _invalid(ref, "metadata.name", ref.name, 'must be spec.names.plural+"."+spec.group')
    if not isinstance(versions, list) or not versions or not all(isinstance(each, Mapping) for each in versions):
        raise _required(ref, "spec.versions")


def _check_selector(ref: ObjectRef, spec: Mapping[str, Any]) -> None:
    selector = _mapping(ref, spec, "selector", "spec.")
    wanted = _mapping(ref, selector, "matchLabels", "spec.selector.")
    if not wanted and not selector.get("matchExpressions"):
        raise _required(ref, "spec.selector")
    metadata = _mapping(ref, spec.get("template", {}), "metadata", "spec.template.")
    labels = _mapping(ref, metadata, "labels", "spec.template.metadata.")
    if any(labels.get(key) != value for key, value in wanted.items()):
        raise _invalid(
            ref, "spec.template.metadata.labels", dict(labels), "`selector` does not match template `labels`"
        )


def _is_duration(text: object) -> bool:
    try:
        seconds = float(text) if isinstance(text, str) else -1.0
    except ValueError:
        return False
    return math.isfinite(seconds) and seconds >= 0


def _mapping(ref: ObjectRef, holder: Mapping[str, Any], field: str, prefix: str = "") -> Mapping[str, Any]:
    value = holder.get(field)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _invalid(ref, f"{prefix}{field}", value, "must be an object")
    return value


def _invalid(ref: ObjectRef, path: str, value: object, why: str) -> ObjectRejected:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return ObjectRejected(f'{ref.gvk.kind} "{ref.name}" is invalid: {path}: Invalid value: {shown[:200]}: {why}')


def _required(ref: ObjectRef, path: str, why: str = "") -> ObjectRejected:
    return ObjectRejected(f'{ref.gvk.kind} "{ref.name}" is invalid: {path}: Required value{why}')
