"""How one live object is doing, by kind and by conditions."""

from __future__ import annotations

from typing import Any

import pytest

from arbora.workloads.model import State
from arbora_agent.workloads.status import state_of


def body(kind: str, status: dict[str, Any] | None = None, version: str = "v1", **spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "generation": 2}}
    if spec:
        made["spec"] = spec
    if status is not None:
        made["status"] = status
    return made


def on(kind: str, status: str = "True", **words: str) -> dict[str, Any]:
    return {"type": kind, "status": status, **words}


def conditions(*each: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"conditions": list(each), **status}


DEPLOYED = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
DEADLINE = on("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")
STATEFUL = {"observedGeneration": 2, "currentRevision": "a", "updateRevision": "a", "availableReplicas": 3}
WAITING = {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
UNPLACED = on("PodScheduled", "False", reason="Unschedulable", message="no GPUs")

CASES: list[tuple[dict[str, Any], State, str]] = [
    (body("Deployment", None, "apps/v1", replicas=3), State.APPLIED, ""),
    (
        body("Deployment", {**DEPLOYED, "observedGeneration": 1}, "apps/v1", replicas=3),
        State.PROGRESSING,
        "newest",
    ),
    (body("Deployment", DEPLOYED, "apps/v1", replicas=3), State.AVAILABLE, ""),
    (
        body("Deployment", {**DEPLOYED, "updatedReplicas": 1}, "apps/v1", replicas=3),
        State.PROGRESSING,
        "1 of 3 repl",
    ),
    (body("Deployment", {**DEPLOYED, "replicas": 4}, "apps/v1", replicas=3), State.PROGRESSING, "1 old replicas"),
    (
        body("Deployment", {**DEPLOYED, "availableReplicas": 2}, "apps/v1", replicas=3),
        State.PROGRESSING,
        "2 of 3",
    ),
    (body("Deployment", conditions(DEADLINE, **DEPLOYED), "apps/v1", replicas=3), State.DEGRADED, "timed out"),
    (body("Deployment", {"observedGeneration": 2}, "apps/v1", replicas=0), State.AVAILABLE, ""),
    (body("StatefulSet", STATEFUL, "apps/v1", replicas=3), State.AVAILABLE, ""),
    (
        body("StatefulSet", {**STATEFUL, "availableReplicas": 1}, "apps/v1", replicas=3),
        State.PROGRESSING,
        "1 of 3",
    ),
    (
        body("StatefulSet", {**STATEFUL, "updateRevision": "b", "updatedReplicas": 1}, "apps/v1", replicas=3),
        State.PROGRESSING,
        "1 of 3 replicas are updated",
    ),
    (
        body(
            "StatefulSet",
            {**STATEFUL, "updateRevision": "b", "updatedReplicas": 1},
            "apps/v1",
            replicas=3,
            updateStrategy={"rollingUpdate": {"partition": 2}},
        ),
        State.AVAILABLE,
        "",
    ),
    (
        body("DaemonSet", {"observedGeneration": 2, "desiredNumberScheduled": 4}, "apps/v1", template={}),
        State.PROGRESSING,
        "0 of 4 nodes are updated",
    ),
    (
        body(
            "DaemonSet",
            {
                "observedGeneration": 2,
                "desiredNumberScheduled": 4,
                "updatedNumberScheduled": 4,
                "numberAvailable": 4,
            },
            "apps/v1",
        ),
        State.AVAILABLE,
        "",
    ),
    (body("Job", None, "batch/v1"), State.APPLIED, ""),
    (
        body("Job", {"active": 2, "ready": 1, "failed": 1}, "batch/v1", completions=2),
        State.PROGRESSING,
        "1 failed",
    ),
    (body("Job", conditions(on("Suspended")), "batch/v1"), State.PROGRESSING, "suspended"),
    (body("Job", conditions(on("Complete"), succeeded=1), "batch/v1"), State.COMPLETE, ""),
    (
        body("Job", conditions(on("Failed", reason="BackoffLimitExceeded", message="too many")), "batch/v1"),
        State.DEGRADED,
        "BackoffLimitExceeded: too many",
    ),
    (body("CronJob", None, "batch/v1", schedule="* * * * *"), State.AVAILABLE, ""),
    (body("Pod", {"phase": "Pending", "conditions": [UNPLACED]}), State.PROGRESSING, "Unschedulable: no GPUs"),
    (body("Pod", {"phase": "Pending", "containerStatuses": [WAITING]}), State.DEGRADED, "ImagePullBackOff"),
    (body("Pod", {"phase": "Running"}), State.PROGRESSING, "not ready"),
    (body("Pod", conditions(on("Ready"), phase="Running")), State.AVAILABLE, ""),
    (body("Pod", {"phase": "Succeeded"}), State.COMPLETE, ""),
    (body("Pod", {"phase": "Failed", "reason": "Evicted", "message": "disk"}), State.DEGRADED, "Evicted: disk"),
    (body("Service", None, type="ClusterIP"), State.AVAILABLE, ""),
    (body("Service", {"loadBalancer": {}}, type="LoadBalancer"), State.PROGRESSING, "address"),
    (body("Service", {"loadBalancer": {"ingress": [{"ip": "x"}]}}, type="LoadBalancer"), State.AVAILABLE, ""),
    (body("PersistentVolumeClaim", {"phase": "Pending"}), State.PROGRESSING, "volume"),
    (body("PersistentVolumeClaim", {"phase": "Bound"}), State.AVAILABLE, ""),
    (body("PersistentVolumeClaim", {"phase": "Lost"}), State.DEGRADED, "lost"),
    (body("Namespace", {"phase": "Active"}), State.AVAILABLE, ""),
    (body("ConfigMap"), State.AVAILABLE, ""),
    (body("Role", version="rbac.authorization.k8s.io/v1"), State.AVAILABLE, ""),
    (
        body("CustomResourceDefinition", conditions(on("Established")), "apiextensions.k8s.io/v1"),
        State.AVAILABLE,
        "",
    ),
    (
        body("CustomResourceDefinition", conditions(on("NamesAccepted", "False")), "apiextensions.k8s.io/v1"),
        State.DEGRADED,
        "NamesAccepted",
    ),
    (body("Widget", None, "example.com/v1", size=1), State.APPLIED, "not reported"),
    (body("Widget", {"observedGeneration": 1}, "example.com/v1"), State.PROGRESSING, "newest change"),
    (body("Widget", {"x": 1}, "example.com/v1"), State.AVAILABLE, ""),
    (body("Widget", conditions(on("Ready")), "example.com/v1"), State.AVAILABLE, ""),
    (body("Widget", conditions(on("Available"), on("Progressing")), "example.com/v1"), State.AVAILABLE, ""),
    (
        body("Widget", conditions(on("Ready", "False", message="wait")), "example.com/v1"),
        State.PROGRESSING,
        "wait",
    ),
    (
        body("Widget", conditions(on("Ready"), on("Degraded", message="ill")), "example.com/v1"),
        State.DEGRADED,
        "ill",
    ),
    (body("Widget", conditions(on("Stalled"), on("Reconciling")), "example.com/v1"), State.DEGRADED, "Stalled"),
    (
        body("Widget", conditions(on("Reconciling"), on("Ready")), "example.com/v1"),
        State.PROGRESSING,
        "Reconciling",
    ),
    (body("PyTorchJob", conditions(on("Succeeded")), "kubeflow.org/v1"), State.COMPLETE, ""),
    (body("PyTorchJob", conditions(on("Failed", reason="OOM")), "kubeflow.org/v1"), State.DEGRADED, "OOM"),
]


@pytest.mark.parametrize(
    ("live", "state", "words"), CASES, ids=lambda each: each.get("kind") if isinstance(each, dict) else str(each)
)
def test_an_object_is_as_its_controller_says(live: dict[str, Any], state: State, words: str) -> None:
    found, sentence = state_of(live)
    assert found is state
    assert words in sentence


def test_an_object_that_goes_is_deleting_whatever_its_status_says() -> None:
    going = body("Pod", {"phase": "Running"})
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert state_of(going)[0] is State.DELETING


@pytest.mark.parametrize("status", [{"conditions": None}, {"conditions": "x"}, {"conditions": [1, None]}])
def test_a_malformed_status_breaks_nothing(status: dict[str, Any]) -> None:
    assert state_of(body("Widget", status, "example.com/v1"))[0] is State.AVAILABLE
