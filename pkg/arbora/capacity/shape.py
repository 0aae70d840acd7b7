"""The shape of a workload: pods, what each asks for, what must run together and what may be divided.

For: hubs before they place, `simulate` and `--dry-run`, which take a `WorkloadShape`; and for whoever sends a
share of a divided workload, which `with_replicas` writes. Must not decide where anything goes. Pure.

Flow: manifest -> a reader of its kind (`kinds/`) -> annotations -> `Shape` -> placement -> `with_replicas`.

Annotations on the object win over what is known of its kind:
  arbora.dev/gang: "true" | "false"         all pods are needed at once, or each is of use alone
  arbora.dev/divisible: "true" | "false"    replicas may, or must not, be divided over members
  arbora.dev/no-pods: "true"                the object runs nothing (a custom resource for configuration)
  arbora.dev/replicas-path, template-path   JSON pointers for kinds that nobody here knows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from arbora.capacity.kinds import core, declared, ray, training
from arbora.capacity.kinds.field import MAX_COUNT, Field
from arbora.capacity.kinds.form import PodGroup, ReplicasPath, Shape, WorkloadShape
from arbora.errors import InvalidInput
from arbora.manifests.json_patch import apply_patch, look_up, split_pointer
from arbora.manifests.objects import Manifest

__all__ = [
    "PodGroup",
    "ReplicasPath",
    "Shape",
    "WorkloadShape",
    "shape_of",
    "shape_of_all",
    "with_replicas",
    "with_share",
]

GANG = "arbora.dev/gang"
DIVISIBLE = "arbora.dev/divisible"
NO_PODS = "arbora.dev/no-pods"

_READERS: dict[tuple[str, str], Callable[[Field, str], Shape]] = {
    ("", "Pod"): core.read_pod,
    ("", "ReplicationController"): core.read_replicated,
    ("apps", "Deployment"): core.read_replicated,
    ("apps", "ReplicaSet"): core.read_replicated,
    ("apps", "StatefulSet"): core.read_stateful_set,
    ("apps", "DaemonSet"): core.read_daemon_set,
    ("batch", "Job"): core.read_job,
    ("batch", "CronJob"): core.read_cron_job,
    ("jobset.x-k8s.io", "JobSet"): training.read_job_set,
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): training.read_leader_worker_set,
    ("batch.volcano.sh", "Job"): training.read_volcano_job,
    ("trainer.kubeflow.org", "TrainJob"): training.read_train_job,
    ("ray.io", "RayCluster"): ray.read_ray_cluster,
    ("ray.io", "RayJob"): ray.read_ray_job,
    ("ray.io", "RayService"): ray.read_ray_service,
    **{("kubeflow.org", kind): training.read_kubeflow_job for kind in training.KUBEFLOW_KINDS},
}


def shape_of(manifest: Manifest) -> Shape | None:
    """What the object asks for, or None if its kind runs no pods (a Service, a ConfigMap ...).

    A kind that nobody knows is one unit without known pods, and its shape says so. Raises InvalidInput with
    the path of a field that is malformed.
    """
    root = Field(manifest)
    group, kind = root.at("apiVersion").text().rpartition("/")[0], root.at("kind").text()
    title = " ".join(filter(None, (kind or "object", root.at("metadata", "name").text())))
    if _flag(root, NO_PODS):
        return None
    shape = declared.read_declared(root, title)
    if shape is None and (reader := _READERS.get((group, kind))):
        shape = reader(root, title)
    if shape is None:
        if _built_in(group):
            return None
        shape = Shape(title, (), reasons=(f"placed as one unit: kind {kind} has no known replicas",))
    return _annotated(root, shape)


def shape_of_all(manifests: Sequence[Manifest]) -> WorkloadShape:
    """What a workload asks for. It may be divided if exactly one of its objects counts, and that one may.

    Raises InvalidInput with the field's path, such as `manifests[2].spec.replicas`.
    """
    shapes: list[Shape] = []
    indexes: list[int] = []
    for index, manifest in enumerate(manifests):
        try:
            shape = shape_of(manifest)
        except InvalidInput as error:
            where = f"manifests[{index}]" + (f".{error.field}" if error.field else "")
            raise InvalidInput(error.message, field=where, hint=error.hint) from error
        if shape is not None:
            shapes.append(shape)
            indexes.append(index)
    reasons = [f"{shape.object}: {reason}" for shape in shapes for reason in shape.reasons]
    divisible = len(shapes) == 1 and shapes[0].divisible
    if len(shapes) > 1 and any(shape.divisible for shape in shapes):
        named = ", ".join(shape.object for shape in shapes)
        reasons.append(f"not divided: more than one object counts ({named})")
    return WorkloadShape(
        shapes=tuple(shapes),
        indexes=tuple(indexes),
        units=shapes[0].units if divisible else 1,
        gang=any(shape.gang for shape in shapes),
        min_available=sum(shape.min_available for shape in shapes),
        divisible=divisible,
        reasons=tuple(reasons),
    )


def with_replicas(manifest: Manifest, shape: Shape, n: int) -> dict[str, Any]:
    """A copy of `manifest` that runs n of the shape's units. Raises InvalidInput if it can't be divided."""
    if n < 0 or n * max((place.per_unit for place in shape.replicas_at), default=1) > MAX_COUNT:
        raise InvalidInput(f"{shape.object} can't have {n} replicas")
    if not shape.divisible and n != shape.units:
        raise InvalidInput(
            f"{shape.object} can't be divided: it has {shape.units} of its units, not {n}",
            hint=f"If it may be divided, say so with the annotation {DIVISIBLE}.",
        )
    places = shape.replicas_at if shape.divisible else ()
    copy: dict[str, Any] = apply_patch(manifest, [_write(manifest, each, n) for each in places])
    return copy


def with_share(manifests: Sequence[Manifest], shape: WorkloadShape, n: int) -> tuple[Manifest, ...]:
    """The manifests of a member that runs n of the workload's units. Raises InvalidInput as `with_replicas`."""
    if not shape.divisible:
        if n != shape.units:
            raise InvalidInput(f"the workload can't be divided into {n} of {shape.units}")
        return tuple(manifests)
    divided = shape.indexes[0]
    return tuple(
        with_replicas(manifest, shape.shapes[0], n) if index == divided else manifest
        for index, manifest in enumerate(manifests)
    )


def _write(manifest: Manifest, place: ReplicasPath, n: int) -> dict[str, Any]:
    """The patch that writes n units; `add` would insert where the place is an item of a list."""
    try:
        look_up(manifest, split_pointer(place.pointer))
    except InvalidInput:  # left to its default so far
        operation = "add"
    else:
        operation = "replace"
    return {"op": operation, "path": place.pointer, "value": n * place.per_unit}


def _built_in(group: str) -> bool:
    """Whether this is a group of Kubernetes itself, of which every kind that runs pods is known here."""
    return "." not in group or group.endswith(".k8s.io")


def _annotated(root: Field, shape: Shape) -> Shape:
    gang, divisible = _flag(root, GANG), _flag(root, DIVISIBLE)
    if gang is not None:
        together = gang and shape.pods > 1
        needed = shape.min_available or shape.pods
        shape = replace(shape, gang=together, min_available=needed if together else 0)
        if together and divisible is not True and shape.divisible and needed > shape.pods_per_unit:
            shape = replace(shape, divisible=False, reasons=(*shape.reasons, "not divided: it is a gang"))
    if divisible is None:
        return shape
    if divisible and not shape.replicas_at:
        raise root.at("metadata", "annotations", DIVISIBLE).error(
            f"{shape.object} has no replicas that could be divided",
            hint=f"Declare where they are with the annotation {declared.REPLICAS_PATH}.",
        )
    reasons = tuple(reason for reason in shape.reasons if not reason.startswith("not divided"))
    return replace(shape, divisible=divisible, reasons=reasons)


def _flag(root: Field, annotation: str) -> bool | None:
    written = root.at("metadata", "annotations", annotation)
    if written.absent:
        return None
    if written.text() not in ("true", "false"):
        raise written.error(f"{written.text()!r} is neither true nor false", hint='Write "true" or "false".')
    return written.text() == "true"
