"""What MultiKueue's account may do in a member: the rules that Kueue's own script grants, and no more. Pure.

Source: site/static/examples/multikueue/create-multikueue-kubeconfig.sh of Kueue (VERSION in `kinds.py`). That
script leaves out two kinds that have adapters; they come when a Fleet asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

ACCOUNT = "multikueue-sa"
ROLE = "multikueue-sa-role"

_FOLLOW = ("create", "delete", "get", "list", "watch")
_CHANGE = ("update", "patch")
_READ = ("get", "list", "watch")

_JOBS: tuple[tuple[str, str], ...] = (
    ("batch", "jobs"),
    ("apps", "statefulsets"),
    ("leaderworkerset.x-k8s.io", "leaderworkersets"),
    ("jobset.x-k8s.io", "jobsets"),
    ("kubeflow.org", "tfjobs"),
    ("kubeflow.org", "paddlejobs"),
    ("kubeflow.org", "pytorchjobs"),
    ("kubeflow.org", "xgboostjobs"),
    ("kubeflow.org", "mpijobs"),
    ("ray.io", "rayjobs"),
    ("ray.io", "rayclusters"),
    ("ray.io", "rayservices"),
    ("workload.codeflare.dev", "appwrappers"),
)
"""With a rule for the status of each; `rayclusters` may be changed, too."""

FURTHER_KINDS: Mapping[str, tuple[str, str]] = {
    "jaxjobs": ("kubeflow.org", "jaxjobs"),
    "trainjobs": ("trainer.kubeflow.org", "trainjobs"),
}
"""What a Fleet may ask for in `jobKinds`."""


@lru_cache(maxsize=16)
def rules(further: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The rules of the ClusterRole, to be read only. further: keys of FURTHER_KINDS."""
    found = [_rule("", "pods", _FOLLOW)]
    for group, resource in (*_JOBS, *(FURTHER_KINDS[each] for each in sorted(set(further)))):
        found.append(_rule(group, resource, (*_FOLLOW, *_CHANGE) if resource == "rayclusters" else _FOLLOW))
        found.append(_rule(group, f"{resource}/status", ("get",)))
    found.append(_rule("kueue.x-k8s.io", "workloads", (*_FOLLOW, *_CHANGE)))
    found.append(_rule("kueue.x-k8s.io", "workloads/status", ("get", "patch", "update")))
    found.append(
        {"apiGroups": ["kueue.x-k8s.io"], "resources": ["clusterqueues", "localqueues"], "verbs": list(_READ)}
    )
    return found


def _rule(group: str, resource: str, verbs: Iterable[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
