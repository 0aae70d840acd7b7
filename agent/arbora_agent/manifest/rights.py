"""The agent's rights: exactly what `cluster/kubernetes` uses; its contract tests run with them."""

from __future__ import annotations

from collections.abc import Iterable

from arbora_agent.manifest.names import APPLIED_KINDS, GRANT_LEDGER, IDENTITY_SECRET, NODE_CONFIG
from arbora_agent.manifest.settings import ManifestSettings, grant

Rule = dict[str, list[str]]

APPLY_VERBS = ("get", "list", "watch", "create", "patch", "delete")
"""What server-side apply, its watch and the pruning need; `update` is not among them."""
WATCH_VERBS = ("get", "list", "watch")
WORKLOAD_KINDS: dict[str, tuple[str, ...]] = {
    "": ("configmaps", "namespaces", "persistentvolumeclaims", "pods", "serviceaccounts", "services"),
    "apps": ("daemonsets", "deployments", "statefulsets"),
    "batch": ("cronjobs", "jobs"),
}
"""The kinds that a workload may hold unless more are granted, by API group."""


def cluster_rules(settings: ManifestSettings) -> list[Rule]:
    """The cluster-wide rules: what is watched for capacity, what workloads may hold, what node agents need."""
    rules = [
        rule("", ("nodes",), WATCH_VERBS),
        # what the cluster says of itself; where there is no such kind, the rule gives nothing
        rule("about.k8s.io", ("clusterproperties",), WATCH_VERBS),
        *workload_rules(settings.grants),
    ]
    if settings.node_agents:
        rules.append(rule("authentication.k8s.io", ("tokenreviews",), ("create",)))
        if "taint" in settings.mark_nodes:
            rules.append(rule("", ("nodes",), ("patch",)))
        if "condition" in settings.mark_nodes:
            rules.append(rule("", ("nodes/status",), ("patch",)))
    return rules


def workload_rules(grants: Iterable[str] = ()) -> list[Rule]:
    """What workloads may hold. Raises InvalidInput."""
    kinds = {group: set(resources) for group, resources in WORKLOAD_KINDS.items()}
    for each in grants:
        group, resource = grant(each)
        kinds.setdefault(group, set()).add(resource)
    return [rule(group, sorted(kinds[group]), APPLY_VERBS) for group in sorted(kinds)]


def own_rules(settings: ManifestSettings) -> list[Rule]:
    """The rules in the agent's own namespace: its identity and its records, all by name.

    A right to create can't be bound to a name, as RBAC sees none yet.
    """
    records = [
        APPLIED_KINDS,
        *([NODE_CONFIG] if settings.node_agents else []),
        *([GRANT_LEDGER] if settings.grants_rights else []),
    ]
    return [
        rule("", ("secrets",), ("get", "update", "patch"), (IDENTITY_SECRET,)),
        rule("", ("secrets",), ("create",)),
        rule("", ("configmaps",), ("get", "patch"), records),
        rule("", ("configmaps",), ("create",)),
    ]


def rule(group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()) -> Rule:
    """One rule of a role."""
    made = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**made, "resourceNames": list(names)} if names else made
