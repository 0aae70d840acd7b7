"""Shapes of what Kubernetes itself brings: pods, replicated pods and jobs.

For: `capacity/shape.py`, which picks a reader by group and kind. Defaults are those of the API server. Whether
an annotation says otherwise is not decided here. Pure. Source: k8s.io/api core/v1, apps/v1, batch/v1.
"""

from __future__ import annotations

from arbora.capacity.kinds.field import Field
from arbora.capacity.kinds.form import ReplicasPath, Shape
from arbora.capacity.kinds.template import pod_group

_REPLICAS = (ReplicasPath("/spec/replicas"),)


def read_pod(root: Field, title: str) -> Shape:
    """A single pod: one unit."""
    group, reasons = pod_group("pod", root)
    return Shape(title, (group,), reasons=reasons)


def read_replicated(root: Field, title: str) -> Shape:
    """Deployment, ReplicaSet, ReplicationController: equal pods that don't know each other."""
    units = root.at("spec", "replicas").count(1)
    group, reasons = pod_group("pods", root.at("spec", "template"), units)
    return Shape(title, (group,), units, divisible=True, replicas_at=_REPLICAS, reasons=reasons)


def read_stateful_set(root: Field, title: str) -> Shape:
    """Numbered pods: each member would start again with number 0, so only an annotation divides them."""
    shape = read_replicated(root, title)
    why = "not divided: the pods of a StatefulSet are numbered and each member would begin at 0"
    return Shape(title, shape.groups, shape.units, replicas_at=_REPLICAS, reasons=(*shape.reasons, why))


def read_daemon_set(root: Field, title: str) -> Shape:
    """One pod on each fitting node. How many these are is the member's matter, so one pod is counted."""
    group, reasons = pod_group("pods", root.at("spec", "template"))
    return Shape(title, (group,), reasons=(*reasons, "runs one pod per node of a member and is counted as one"))


def read_job(root: Field, title: str) -> Shape:
    """A Job: its pods at one moment. A gang if it is indexed and runs all of its indexes at once."""
    return job(root.at("spec"), title)


def read_cron_job(root: Field, title: str) -> Shape:
    """A CronJob: one run of its Job, and not divided, since each member would start runs of its own."""
    run = job(root.at("spec", "jobTemplate", "spec"), title)
    return Shape(
        title,
        run.groups,
        run.units,
        run.gang,
        run.min_available,
        reasons=(*run.reasons, "counted as one run at a time"),
    )


def concurrent_pods(spec: Field) -> int:
    """Pods of a Job spec that run at the same time."""
    parallelism = spec.at("parallelism").count(1)
    return min(parallelism, spec.at("completions").count(parallelism))


def job(spec: Field, title: str) -> Shape:
    """The shape of a Job's spec, wherever it stands.

    Division keeps the sum of completions exact: `completions` is unset, or a multiple of the pods at a time.
    """
    units = concurrent_pods(spec)
    completions = spec.at("completions")
    total = completions.count(units)
    indexed = spec.at("completionMode").text() == "Indexed"
    group, reasons = pod_group("pods", spec.at("template"), units)
    paths = [ReplicasPath("/spec/parallelism")]
    rounds, odd = divmod(total, units) if units else (1, total)
    if not completions.absent:
        paths.append(ReplicasPath("/spec/completions", rounds))
    why: tuple[str, ...] = ()
    if odd:
        why = (f"not divided: {total} completions are not a multiple of {units} pods at a time",)
    elif indexed:
        why = ("not divided: the pods of an indexed Job are numbered and each member would begin at 0",)
    gang = indexed and units > 1 and total == units
    return Shape(
        title,
        (group,),
        units,
        gang=gang,
        min_available=units if gang else 0,
        divisible=not why,
        replicas_at=() if odd else tuple(paths),
        reasons=(*reasons, *why),
    )
