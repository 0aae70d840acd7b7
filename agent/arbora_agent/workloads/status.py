"""How one live object is doing, by its kind: a state and a sentence. Pure. For `progress.py`.

The rules are those of kstatus (sigs.k8s.io/cli-utils), in the words of `State`:

    Applied      the API server took it; its controller has not said anything yet
    Progressing  its controller is at work
    Available    it does what it is for; nothing more is to come
    Complete     it has done what it was for
    Degraded     it failed or is stuck; the sentence says why
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arbora.manifests.objects import Gvk
from arbora.workloads.model import State
from arbora_agent.workloads.conditions import Verdict, by_conditions, false, sentence, true

Body = Mapping[str, Any]

_STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that somebody has to look at."""
_BUILT_IN_GROUPS = frozenset({"", "apps", "batch", "autoscaling", "policy"})


def state_of(body: Body) -> Verdict:
    """The verdict on one live object."""
    metadata, status = body.get("metadata", {}), body.get("status") or {}
    if "deletionTimestamp" in metadata:
        return State.DELETING, "is being deleted"
    gvk = Gvk(body.get("apiVersion", ""), body.get("kind", ""))
    observed = status.get("observedGeneration")
    if isinstance(observed, int) and observed < metadata.get("generation", 0):
        return State.PROGRESSING, "its controller has not seen the newest change yet"
    rule = _RULES.get((gvk.group, gvk.kind))
    if rule is not None:
        needs_status = (gvk.group, gvk.kind) not in _WITHOUT_STATUS
        if needs_status and not status:
            return State.APPLIED, ""
        return rule(body, body.get("spec") or {}, status)
    if found := by_conditions(body):
        return found
    if gvk.group in _BUILT_IN_GROUPS or gvk.group.endswith(".k8s.io"):
        return State.AVAILABLE, ""  # a ConfigMap, a Role ...: being there is all it does
    # a custom kind without a status may have a controller that is only slow; calling it Available could
    # complete a whole workload by mistake
    return (State.AVAILABLE, "") if status else (State.APPLIED, "its controller has not reported a status")


def _deployment(body: Body, spec: Body, status: Body) -> Verdict:
    stuck = false(body, "Progressing") or true(body, "ReplicaFailure")
    if stuck and stuck.get("reason") != "DeploymentPaused":
        return State.DEGRADED, sentence(stuck)
    wanted = spec.get("replicas", 1)
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    if updated < wanted:
        return State.PROGRESSING, f"{updated} of {wanted} replicas are updated"
    if total > updated:
        return State.PROGRESSING, f"{total - updated} old replicas are still there"
    return _available(status.get("availableReplicas", 0), wanted, "replicas")


def _stateful_set(body: Body, spec: Body, status: Body) -> Verdict:
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    to_update = 0 if strategy.get("type") == "OnDelete" else max(0, wanted - partition)
    if status.get("currentRevision") != status.get("updateRevision") and updated < to_update:
        return State.PROGRESSING, f"{updated} of {to_update} replicas are updated"
    return _available(status.get("availableReplicas", status.get("readyReplicas", 0)), wanted, "replicas")


def _replica_set(body: Body, spec: Body, status: Body) -> Verdict:
    if stuck := true(body, "ReplicaFailure"):
        return State.DEGRADED, sentence(stuck)
    return _available(status.get("availableReplicas", 0), spec.get("replicas", 1), "replicas")


def _daemon_set(body: Body, spec: Body, status: Body) -> Verdict:
    if not status.get("observedGeneration"):
        return State.APPLIED, ""
    wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
    if updated < wanted and (spec.get("updateStrategy") or {}).get("type") != "OnDelete":
        return State.PROGRESSING, f"{updated} of {wanted} nodes are updated"
    return _available(status.get("numberAvailable", 0), wanted, "nodes")


def _job(body: Body, spec: Body, status: Body) -> Verdict:
    if true(body, "Complete"):
        return State.COMPLETE, ""
    if failure := true(body, "Failed") or true(body, "FailureTarget"):
        return State.DEGRADED, sentence(failure)
    if true(body, "Suspended"):
        return State.PROGRESSING, "is suspended"
    running, failed = status.get("ready", status.get("active", 0)), status.get("failed", 0)
    wanted = spec.get("completions", 1)
    words = f"{status.get('succeeded', 0)} of {wanted} completed, {running} running"
    if waiting := status.get("active", 0) - running:
        words += f", {waiting} waiting"
    return State.PROGRESSING, f"{words}, {failed} failed" if failed else words


def _cron_job(body: Body, spec: Body, status: Body) -> Verdict:
    return State.AVAILABLE, "is suspended" if spec.get("suspend") else ""


def _pod(body: Body, spec: Body, status: Body) -> Verdict:
    phase = status.get("phase", "Pending")
    if phase == "Succeeded":
        return State.COMPLETE, ""
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            return State.DEGRADED, f"container {container.get('name')}: {sentence(waiting)}"
    if phase == "Failed":
        return State.DEGRADED, sentence({"type": "the pod failed", **status})
    if phase == "Running":
        return (
            (State.AVAILABLE, "") if true(body, "Ready") else (State.PROGRESSING, "is running and not ready yet")
        )
    unplaced = false(body, "PodScheduled")
    return State.PROGRESSING, sentence(unplaced) if unplaced else "is starting"


def _service(body: Body, spec: Body, status: Body) -> Verdict:
    if spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return State.PROGRESSING, "waits for the address of its load balancer"
    return State.AVAILABLE, ""


def _claim(body: Body, spec: Body, status: Body) -> Verdict:
    phase = status.get("phase", "Pending")
    if phase == "Lost":
        return State.DEGRADED, "has lost its volume"
    return (State.AVAILABLE, "") if phase == "Bound" else (State.PROGRESSING, "waits for a volume")


def _namespace(body: Body, spec: Body, status: Body) -> Verdict:
    return State.AVAILABLE, ""


def _definition(body: Body, spec: Body, status: Body) -> Verdict:
    if refused := false(body, "NamesAccepted"):
        return State.DEGRADED, sentence(refused)
    if true(body, "Established"):
        return State.AVAILABLE, ""
    return State.PROGRESSING, "is not established yet"


def _available(count: int, wanted: int, what: str) -> Verdict:
    if count < wanted:
        return State.PROGRESSING, f"{count} of {wanted} {what} are available"
    return State.AVAILABLE, ""


_RULES: Mapping[tuple[str, str], Callable[[Body, Body, Body], Verdict]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("batch", "CronJob"): _cron_job,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
}
_WITHOUT_STATUS = frozenset({("batch", "CronJob"), ("", "Service"), ("", "Namespace")})
"""Kinds that do what they are for even before anybody writes a status."""
