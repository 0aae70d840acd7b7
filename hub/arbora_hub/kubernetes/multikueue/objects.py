"""The objects that Kueue needs where its manager is: for each member, for each shard, and the queues. Pure.

    member   AuthTokenRequest (-> Secret with a kubeconfig), MultiKueueCluster
    shard    MultiKueueConfig, AdmissionCheck, ClusterQueue, a LocalQueue in each namespace
    Fleet    ResourceFlavor

A ClusterQueue takes one MultiKueue check and none per flavor, which is why each shard has queues of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arbora.kubernetes.discovery import Resource
from arbora.manifests.objects import to_json
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST
from arbora_hub.kubernetes.multikueue.kinds import (
    ADMISSION_CHECK,
    CLUSTER_QUEUE,
    DRAINING_ANNOTATION,
    FLEET_ANNOTATION,
    FLEET_LABEL,
    GROUP,
    LOCAL_QUEUE,
    MULTIKUEUE,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    NAMESPACE_ANNOTATION,
    PATH_ANNOTATION,
    RESOURCE_FLAVOR,
    SETTINGS_ANNOTATION,
    SHARD_LABEL,
)
from arbora_hub.kubernetes.multikueue.names import cluster_name, label_value, queue_name, shard_name
from arbora_hub.kubernetes.multikueue.rights import ACCOUNT, ROLE, rules
from arbora_hub.kubernetes.multikueue.settings import MultiKueueSettings


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that has to be there."""

    kind: Resource
    body: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        metadata = self.body["metadata"]
        return self.kind.plural, metadata.get("namespace", ""), metadata["name"]


@dataclass(frozen=True, slots=True)
class ClusterWanted:
    """A member that Kueue is to know."""

    path: str
    shard: int
    profile: str
    """Name of its ClusterProfile in Kueue's namespace."""
    since: float | None = None
    """When it began to drain."""


def for_member(fleet: str, settings: MultiKueueSettings, member: ClusterWanted) -> tuple[Wanted, Wanted]:
    """What one member needs."""
    name = cluster_name(fleet, member.path)
    annotations = {PATH_ANNOTATION: member.path}
    request = {
        "metadata": _metadata(name, fleet, settings.namespace, annotations=annotations),
        "spec": {
            "targetClusterProfile": {
                "apiGroup": "multicluster.x-k8s.io",
                "kind": "ClusterProfile",
                "name": member.profile,
            },
            "serviceAccountName": ACCOUNT,
            "serviceAccountNamespace": settings.namespace,
            "clusterRoles": [{"name": ROLE, "rules": rules(settings.job_kinds)}],
            "expirationSeconds": settings.token_seconds,
            "secretName": name,
        },
    }
    annotations = {**annotations, NAMESPACE_ANNOTATION: settings.namespace}
    if member.since is not None:
        annotations = {**annotations, DRAINING_ANNOTATION: f"{member.since:.0f}"}
    cluster = {
        "metadata": _metadata(name, fleet, shard=member.shard, annotations=annotations),
        "spec": {"clusterSource": {"kubeConfig": {"location": name, "locationType": "Secret"}}},
    }
    return Wanted(AUTH_TOKEN_REQUEST, request), Wanted(MULTIKUEUE_CLUSTER, cluster)


def for_shard(
    fleet: str, settings: MultiKueueSettings, written: Mapping[str, Any], shard: int, clusters: Iterable[str]
) -> tuple[Wanted, Wanted]:
    """Config and check of one shard. written: the settings as the Fleet has them."""
    name = shard_name(settings.name, shard)
    annotations = {SETTINGS_ANNOTATION: to_json(written).decode()}
    config = {
        "metadata": _metadata(name, fleet, shard=shard, annotations=annotations),
        "spec": {"clusters": sorted(clusters)},
    }
    check = {
        "metadata": _metadata(name, fleet, shard=shard),
        "spec": {
            "controllerName": MULTIKUEUE,
            "parameters": {"apiGroup": GROUP, "kind": MULTIKUEUE_CONFIG.gvk.kind, "name": name},
        },
    }
    return Wanted(MULTIKUEUE_CONFIG, config), Wanted(ADMISSION_CHECK, check)


def for_queues(
    fleet: str,
    settings: MultiKueueSettings,
    shard: int,
    groups: Sequence[Mapping[str, Any]],
    *,
    hold: bool,
) -> tuple[Wanted, ...]:
    """Flavor, ClusterQueue and LocalQueues of one shard; nothing where none are wanted.

    groups: the ClusterQueue's `resourceGroups`. hold: admit nothing more, as all members are to go.
    """
    queues = settings.queues
    if queues is None:
        return ()
    name = shard_name(settings.name, shard)
    queue = {
        "metadata": _metadata(name, fleet, shard=shard),
        "spec": {
            **queue_spec(groups, queues.namespaces),
            "admissionChecksStrategy": {"admissionChecks": [{"name": name}]},
            "stopPolicy": "Hold" if hold else "None",
        },
    }
    locals_ = [
        Wanted(
            LOCAL_QUEUE,
            {
                "metadata": _metadata(queue_name(queues.local_queue, shard), fleet, each, shard=shard),
                "spec": {"clusterQueue": name},
            },
        )
        for each in queues.namespaces
    ]
    flavors = [
        Wanted(RESOURCE_FLAVOR, {"metadata": _metadata(name, fleet), "spec": {}})
        for name in sorted({flavor["name"] for group in groups for flavor in group["flavors"]})
    ]
    return (*flavors, Wanted(CLUSTER_QUEUE, queue), *locals_)


def queue_spec(groups: Sequence[Mapping[str, Any]], namespaces: Sequence[str]) -> dict[str, Any]:
    """Quotas of a ClusterQueue and who may use it."""
    return {
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
            ]
        },
        "resourceGroups": list(groups),
    }


def _metadata(
    name: str,
    fleet: str,
    namespace: str = "",
    *,
    shard: int | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    labels = {FLEET_LABEL: label_value(fleet)}
    if shard is not None:
        labels[SHARD_LABEL] = str(shard)
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": labels,
        "annotations": {FLEET_ANNOTATION: fleet, **(annotations or {})},
    }
