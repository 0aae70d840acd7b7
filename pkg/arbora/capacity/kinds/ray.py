"""Shapes of Ray clusters and of what runs in one of its own.

For: `capacity/shape.py`, which picks a reader by group and kind. One unit each: a Ray cluster doesn't span
members. Pure. Source: KubeRay's ray.io/v1 API and how its operator counts workers.
"""

from __future__ import annotations

from fractions import Fraction

from arbora.capacity.kinds.field import Field
from arbora.capacity.kinds.form import PodGroup, Shape
from arbora.capacity.kinds.template import pod_group, sized
from arbora.capacity.kinds.training import whole
from arbora.capacity.quantity import MEBI

_SUBMITTER = {"cpu": Fraction(1, 2), "memory": Fraction(200 * MEBI)}
"""What KubeRay's own submitter pod asks for."""


def read_ray_cluster(root: Field, title: str) -> Shape:
    """RayCluster: the head and the workers of each group; with the autoscaler only the minimum is needed."""
    groups, reasons, needed = _cluster(root.at("spec"))
    return whole(title, groups, reasons, needed)


def read_ray_service(root: Field, title: str) -> Shape:
    """RayService: its cluster. The second one that an upgrade brings for a while is not counted."""
    groups, reasons, needed = _cluster(root.at("spec", "rayClusterConfig"))
    return whole(title, groups, reasons, needed)


def read_ray_job(root: Field, title: str) -> Shape:
    """RayJob: its cluster, and the pod that submits the job to it."""
    spec = root.at("spec")
    groups: list[PodGroup] = []
    reasons: list[str] = []
    needed = 0
    if spec.at("clusterSelector").entries():
        reasons.append("runs in a Ray cluster that is there already, whose pods are not counted")
    else:
        groups, reasons, needed = _cluster(spec.at("rayClusterSpec"))
    if spec.at("submissionMode").text("K8sJobMode") == "K8sJobMode":
        template = spec.at("submitterPodTemplate")
        if template.absent:
            submitter = sized("submitter", dict(_SUBMITTER), 1)
        else:
            submitter, assumed = pod_group("submitter", template)
            reasons += assumed
        groups.append(submitter)
        needed += 1
    return whole(title, groups, reasons, needed)


def _cluster(spec: Field) -> tuple[list[PodGroup], list[str], int]:
    """Groups, reasons, and how many pods have to run together."""
    head, assumed = pod_group("head", spec.at("headGroupSpec", "template"))
    groups, reasons = [head], list(assumed)
    scaled = spec.at("enableInTreeAutoscaling").flag()
    needed = 1
    for index, each in enumerate(spec.at("workerGroupSpecs").items()):
        name = each.at("groupName").text(f"workers-{index}")
        least, wanted = _workers(each)
        hosts = max(1, each.at("numOfHosts").count(1))
        group, assumed = pod_group(name, each.at("template"), per_unit=wanted * hosts)
        groups.append(group)
        reasons += assumed
        needed += (least if scaled else wanted) * hosts
    if scaled:
        reasons.append("Ray's autoscaler may ask for more workers later; counted are those of the beginning")
    return groups, reasons, needed


def _workers(group: Field) -> tuple[int, int]:
    """The least and the wanted workers. Both stay within the maximum, as the operator does it."""
    if group.at("suspend").flag():
        return 0, 0
    least = group.at("minReplicas").count(0)
    wanted = max(least, group.at("replicas").count(least))
    most = group.at("maxReplicas")
    limit = wanted if most.absent else most.count(0)
    return min(least, limit), min(wanted, limit)
