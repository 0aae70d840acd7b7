"""Kueue's kinds, and the labels by which we know our own objects among others. Pure."""

from __future__ import annotations

from arbora.kubernetes.discovery import Resource
from arbora.manifests.objects import Gvk

VERSION = "v0.19.2"
"""The release of Kueue whose sources and CRDs all of this was written and is tested against."""
API = "kueue.x-k8s.io/v1beta2"
GROUP = "kueue.x-k8s.io"

MULTIKUEUE = "kueue.x-k8s.io/multikueue"
"""The controller of MultiKueue's admission checks."""
DISPATCHER = "arbora.dev/dispatcher"
"""What Kueue's configuration names as `multiKueue.dispatcherName`, so that it leaves the choice to us."""
ADMISSION_MANAGER = "kueue-admission"
"""The field manager under which Kueue keeps a Workload's admission, nominations included."""
CONFIG_LIMIT = 20
"""Clusters that one MultiKueueConfig may hold."""

FLEET_LABEL = "arbora.dev/fleet"
SHARD_LABEL = "arbora.dev/shard"
PATH_ANNOTATION = "arbora.dev/path"
NAMESPACE_ANNOTATION = "arbora.dev/namespace"
"""On a MultiKueueCluster, which has none: that of its AuthTokenRequest and Secret."""
FLEET_ANNOTATION = "arbora.dev/fleet"
"""The Fleet's full name, which may be longer than a label."""
DRAINING_ANNOTATION = "arbora.dev/draining-since"
"""When a member was taken out of dispatch, in seconds since the epoch."""
SETTINGS_ANNOTATION = "arbora.dev/multikueue-settings"
"""What the Fleet said, to finish its work by when the Fleet is gone."""
APPLIED_ANNOTATION = "arbora.dev/applied"
"""Digest of what we last wrote."""


def _kind(kind: str, plural: str, *, namespaced: bool = False) -> Resource:
    return Resource(Gvk(API, kind), plural, namespaced)


MULTIKUEUE_CLUSTER = _kind("MultiKueueCluster", "multikueueclusters")
MULTIKUEUE_CONFIG = _kind("MultiKueueConfig", "multikueueconfigs")
ADMISSION_CHECK = _kind("AdmissionCheck", "admissionchecks")
RESOURCE_FLAVOR = _kind("ResourceFlavor", "resourceflavors")
CLUSTER_QUEUE = _kind("ClusterQueue", "clusterqueues")
LOCAL_QUEUE = _kind("LocalQueue", "localqueues", namespaced=True)
WORKLOAD = _kind("Workload", "workloads", namespaced=True)
EVENT = Resource(Gvk("v1", "Event"), "events", True)
