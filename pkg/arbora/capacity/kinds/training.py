"""Shapes of training jobs and of groups of pods that work together.

For: `capacity/shape.py`, which picks a reader by group and kind. They are gangs: placed whole, in one member,
unless said otherwise. Defaults are those of each project's API. Pure. Sources: JobSet v1alpha2, LeaderWorkerSet
v1, Volcano batch/v1alpha1, Kubeflow training v1 and v2beta1 (MPIJob), Kubeflow Trainer v1alpha1.
"""

from __future__ import annotations

from arbora.capacity.kinds.core import concurrent_pods
from arbora.capacity.kinds.field import Field
from arbora.capacity.kinds.form import PodGroup, ReplicasPath, Shape
from arbora.capacity.kinds.template import check_amounts, pod_group, sized
from arbora.capacity.pod import pod_requests

_REPLICA_SPECS = {
    "PyTorchJob": "pytorchReplicaSpecs",
    "TFJob": "tfReplicaSpecs",
    "MPIJob": "mpiReplicaSpecs",
    "XGBoostJob": "xgbReplicaSpecs",
    "PaddleJob": "paddleReplicaSpecs",
    "JAXJob": "jaxReplicaSpecs",
}
KUBEFLOW_KINDS = tuple(_REPLICA_SPECS)


def whole(title: str, groups: list[PodGroup], reasons: list[str], needed: int | None = None) -> Shape:
    """One unit of several groups, a gang if more than one pod is needed at once (all of them by default)."""
    together = sum(group.replicas for group in groups) if needed is None else needed
    gang = together > 1
    return Shape(title, tuple(groups), gang=gang, min_available=together if gang else 0, reasons=tuple(reasons))


def read_job_set(root: Field, title: str) -> Shape:
    """JobSet: `replicas` Jobs of each replicated job, all of them together."""
    groups: list[PodGroup] = []
    reasons: list[str] = []
    for each in root.at("spec", "replicatedJobs").items():
        name = each.at("name").text("jobs")
        spec = each.at("template", "spec")
        pods = each.at("replicas").count(1) * concurrent_pods(spec)
        group, assumed = pod_group(name, spec.at("template"), per_unit=pods)
        groups.append(group)
        reasons += assumed
        if each.at("dependsOn").items():
            reasons.append(f"group {name} is counted from the beginning, although it waits for another")
    return whole(title, groups, reasons)


def read_leader_worker_set(root: Field, title: str) -> Shape:
    """LeaderWorkerSet: `replicas` groups of `size` pods. Each group is a gang; groups may be divided."""
    spec = root.at("spec")
    units = spec.at("replicas").count(1)
    template = spec.at("leaderWorkerTemplate")
    size = template.at("size").count(1)
    if size < 1:
        raise template.at("size").error("0 is not the size of a group", hint="Use 1 or more.")
    workers = template.at("workerTemplate")
    leaders = workers if template.at("leaderTemplate").absent else template.at("leaderTemplate")
    leader, reasons = pod_group("leader", leaders, units)
    groups = [leader]
    gang = size > 1 and units > 0
    if size > 1:
        worker, assumed = pod_group("worker", workers, units, size - 1)
        groups.append(worker)
        reasons += assumed
    return Shape(
        title,
        tuple(groups),
        units,
        gang=gang,
        min_available=size if gang else 0,
        divisible=True,
        replicas_at=(ReplicasPath("/spec/replicas"),),
        reasons=reasons,
    )


def read_volcano_job(root: Field, title: str) -> Shape:
    """Volcano Job: tasks of `replicas` pods, of which `minAvailable` have to run together (default: all)."""
    groups: list[PodGroup] = []
    reasons: list[str] = []
    needed = 0
    for index, task in enumerate(root.at("spec", "tasks").items()):
        replicas = task.at("replicas").count(1)
        needed += min(replicas, task.at("minAvailable").count(replicas))
        group, assumed = pod_group(task.at("name").text(f"task-{index}"), task.at("template"), per_unit=replicas)
        groups.append(group)
        reasons += assumed
    minimum = root.at("spec", "minAvailable")
    total = sum(group.replicas for group in groups)
    if minimum.count(0) > total:
        raise minimum.error(f"{minimum.value} pods can't run together, the tasks have {total}")
    return whole(title, groups, reasons, minimum.count(0) or needed)


def read_kubeflow_job(root: Field, title: str) -> Shape:
    """PyTorchJob and its kin: `replicas` pods of each role. An elastic job needs only its minimum of workers."""
    spec = root.at("spec")
    roles = spec.at(_REPLICA_SPECS[root.at("kind").text()])
    groups: list[PodGroup] = []
    reasons: list[str] = []
    for role, each in roles.entries():
        group, assumed = pod_group(role, each.at("template"), per_unit=each.at("replicas").count(1))
        groups.append(group)
        reasons += assumed
    total = sum(group.replicas for group in groups)
    needed = total
    elastic = spec.at("elasticPolicy", "minReplicas")
    if not elastic.absent:
        others = sum(group.replicas for group in groups if group.name != "Worker")
        needed = min(total, others + elastic.count(1))
    minimum = spec.at("runPolicy", "schedulingPolicy", "minAvailable")
    if minimum.count(0) > total:
        raise minimum.error(f"{minimum.value} pods can't run together, the roles have {total}")
    return whole(title, groups, reasons, minimum.count(0) or needed)


def read_train_job(root: Field, title: str) -> Shape:
    """TrainJob: `numNodes` pods with `resourcesPerNode` each. What its runtime adds is not known here."""
    trainer = root.at("spec", "trainer")
    runtime = root.at("spec", "runtimeRef", "name").text("(none)")
    reasons: list[str] = []
    nodes = trainer.at("numNodes")
    if nodes.absent:
        reasons.append(f"counted as one node: spec.trainer.numNodes is left to the runtime {runtime}")
    resources = trainer.at("resourcesPerNode")
    for part in ("requests", "limits"):
        check_amounts(resources.at(part))
    if resources.absent:
        reasons.append(
            f"what its pods ask for is unknown: spec.trainer.resourcesPerNode is left to the runtime {runtime}"
        )
    amounts = pod_requests({"containers": [{"resources": resources.map()}]})
    patched, _ = pod_group("node", Field({"spec": _placed_by(root)}))
    return whole(title, [sized("node", amounts, 1, nodes.count(1), patched.products)], reasons)


def _placed_by(root: Field) -> dict[str, object]:
    """The pod spec's parts that a TrainJob patches into its runtime's trainer pods."""
    patched: dict[str, object] = {}
    specs = [
        each.at("spec")
        for each in root.at("spec", "podTemplateOverrides").items()
        if any(job.at("name").text() == "node" for job in each.at("targetJobs").items())
    ]
    for patch in root.at("spec", "runtimePatches").items():
        jobs = patch.at("trainingRuntimeSpec", "template", "spec", "replicatedJobs").items()
        specs += [
            each.at("template", "spec", "template", "spec") for each in jobs if each.at("name").text() == "node"
        ]
    for spec in specs:
        for key in ("nodeSelector", "affinity"):
            if not spec.at(key).absent:
                patched[key] = spec.at(key).value
    return patched
