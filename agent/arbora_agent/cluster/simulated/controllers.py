"""What the controllers of a cluster do: from an object and its pods to the pods it should have, and a status.

For `simulation.py`, which calls `wanted_pods` and `status_of` until nothing changes any more. Status fields are
those that the controllers of Kubernetes 1.3x write, because the agent reads exactly them. CronJobs are accepted
and never fire; an autoscaler is accepted and never scales.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from arbora_agent.cluster.simulated.fleet import HOSTNAME_LABEL, SimulatedNode
from arbora_agent.cluster.simulated.pods import PodTemplate, SimulatedPod, matches, pod_template

Status = dict[str, Any]


def wanted_pods(
    body: Mapping[str, Any],
    pods: Sequence[SimulatedPod],
    nodes: Iterable[SimulatedNode],
    serial: Callable[[], int],
) -> list[SimulatedPod]:
    """The pods that the object should have now: those of `pods` that stay, then new ones, which wait."""
    kind, uid = body["kind"], body["metadata"]["uid"]
    template = pod_template(kind, body)
    if template is None:
        return []
    if kind == "DaemonSet":
        return _daemons(uid, template, pods, nodes, serial)
    if kind == "Job":
        keep = [pod for pod in pods if pod.succeeded]
        count = _job_active(body.get("spec", {}), len(keep))
        current = [pod for pod in pods if not pod.succeeded]
    else:
        keep = []
        count = 1 if kind == "Pod" else body["spec"].get("replicas", 1)
        # a finished bare Pod stays as it is; elsewhere an ended pod or another template means another pod
        current = [
            pod for pod in pods if kind == "Pod" or (pod.template.digest == template.digest and not pod.succeeded)
        ]
    current = current[:count]
    made = [SimulatedPod(serial(), uid, template) for _ in range(count - len(current))]
    return [*keep, *current, *made]


def status_of(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status | None:
    """The object's status; None for a kind whose status nobody writes. `stamp`: the time, RFC 3339."""
    build = _STATUS.get(body["kind"])
    return build(body, pods, stamp) if build is not None else None


def _daemons(
    uid: str,
    template: PodTemplate,
    pods: Sequence[SimulatedPod],
    nodes: Iterable[SimulatedNode],
    serial: Callable[[], int],
) -> list[SimulatedPod]:
    current = {dict(pod.template.selector).get(HOSTNAME_LABEL): pod for pod in pods}
    kept = []
    for node in sorted(nodes, key=lambda each: each.name):
        pod = current.get(node.name)
        if not matches(node, template) or (node.cordoned and pod is None):
            continue
        if pod is None or pod.template.digest != template.digest:
            here = tuple(sorted({**dict(template.selector), HOSTNAME_LABEL: node.name}.items()))
            pod = SimulatedPod(serial(), uid, replace(template, selector=here))
        kept.append(pod)
    return kept


def _job_active(spec: Mapping[str, Any], succeeded: int) -> int:
    if spec.get("suspend"):
        return 0
    parallelism: int = spec.get("parallelism", 1)
    left: int = spec.get("completions", parallelism) - succeeded
    return max(0, min(parallelism, left))


def _job(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    spec, before = body.get("spec", {}), body.get("status", {})
    succeeded = sum(pod.succeeded for pod in pods)
    active = sum(not pod.succeeded for pod in pods)
    status: Status = {}
    if active:
        status |= {"active": active, "ready": sum(pod.running for pod in pods), "terminating": 0}
    if succeeded:
        status["succeeded"] = succeeded
    if spec.get("suspend"):
        status["conditions"] = [_condition(before, "Suspended", "True", "JobSuspended", "Job suspended", stamp)]
        return status
    status["startTime"] = before.get("startTime", stamp)
    if succeeded >= spec.get("completions", spec.get("parallelism", 1)):
        status["completionTime"] = before.get("completionTime", stamp)
        message = "Reached expected number of succeeded pods"
        status["conditions"] = [
            _condition(before, kind, "True", "CompletionsReached", message, stamp)
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
    return status


def _deployment(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    before, wanted, ready = body.get("status", {}), body["spec"].get("replicas", 1), _ready(pods)
    counts = {
        "replicas": len(pods),
        "updatedReplicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
    done = ready >= wanted
    status: Status = {"observedGeneration": body["metadata"]["generation"]}
    status |= {name: count for name, count in counts.items() if count}
    if not done:
        status["unavailableReplicas"] = wanted - ready
    available = ("True", "MinimumReplicasAvailable") if done else ("False", "MinimumReplicasUnavailable")
    having = "has" if done else "does not have"
    rolled = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
    status["conditions"] = [
        _condition(before, "Available", *available, f"Deployment {having} minimum availability.", stamp),
        _condition(before, "Progressing", "True", rolled, f"{ready} of {wanted} replicas available", stamp),
    ]
    return status


def _stateful_set(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    ready, count = _ready(pods), len(pods)
    template = pod_template(body["kind"], body)
    revision = f"{body['metadata']['name']}-{template.digest if template else ''}"
    return {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": count,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": count,
        "updatedReplicas": count,
        "currentRevision": revision,
        "updateRevision": revision,
        "collisionCount": 0,
    }


def _replica_set(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    ready = _ready(pods)
    return {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }


def _daemon_set(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    ready, count = _ready(pods), len(pods)
    return {
        "observedGeneration": body["metadata"]["generation"],
        "desiredNumberScheduled": count,
        "currentNumberScheduled": sum(not pod.waiting for pod in pods),
        "updatedNumberScheduled": count,
        "numberReady": ready,
        "numberAvailable": ready,
        "numberUnavailable": count - ready,
        "numberMisscheduled": 0,
    }


def _pod(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    before = body.get("status", {})
    pod = pods[0] if pods else None
    if pod is None or pod.waiting:
        message = "no node has the GPUs and labels that the pod asks for"
        return {
            "phase": "Pending",
            "conditions": [_condition(before, "PodScheduled", "False", "Unschedulable", message, stamp)],
        }
    ready = ("False", "PodCompleted") if pod.succeeded else ("True", "")
    return {
        "phase": "Succeeded" if pod.succeeded else "Running",
        "startTime": before.get("startTime", stamp),
        "conditions": [
            _condition(before, "PodScheduled", "True", "", "", stamp),
            _condition(before, "Ready", *ready, "", stamp),
        ],
    }


def _namespace(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    return {"phase": "Terminating" if "deletionTimestamp" in body["metadata"] else "Active"}


def _claim(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    spec = body.get("spec", {})
    return {
        "phase": "Bound",
        "accessModes": spec.get("accessModes", []),
        "capacity": spec.get("resources", {}).get("requests", {}),
    }


def _service(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    if body.get("spec", {}).get("type") != "LoadBalancer":
        return {"loadBalancer": {}}
    return {"loadBalancer": {"ingress": [{"ip": body["spec"].get("clusterIP", "")}]}}


def _crd(body: Mapping[str, Any], pods: Sequence[SimulatedPod], stamp: str) -> Status:
    before = body.get("status", {})
    return {
        "conditions": [
            _condition(before, "NamesAccepted", "True", "NoConflicts", "no conflicts found", stamp),
            _condition(before, "Established", "True", "InitialNamesAccepted", "accepted", stamp),
        ]
    }


def _ready(pods: Sequence[SimulatedPod]) -> int:
    return sum(pod.running for pod in pods)


def _condition(
    before: Mapping[str, Any], kind: str, status: str, reason: str, message: str, stamp: str
) -> dict[str, Any]:
    """A condition that keeps its transition time while its status stays."""
    for each in before.get("conditions", []):
        if each["type"] == kind and each["status"] == status:
            stamp = each["lastTransitionTime"]
    made = {"type": kind, "status": status, "lastTransitionTime": stamp}
    return made | {key: value for key, value in (("reason", reason), ("message", message)) if value}


_STATUS: Mapping[str, Callable[[Mapping[str, Any], Sequence[SimulatedPod], str], Status]] = {
    "Job": _job,
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "ReplicaSet": _replica_set,
    "DaemonSet": _daemon_set,
    "Pod": _pod,
    "Namespace": _namespace,
    "PersistentVolumeClaim": _claim,
    "Service": _service,
    "CustomResourceDefinition": _crd,
}
