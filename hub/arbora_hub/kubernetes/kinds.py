"""The kinds that the hub's face reads or writes, and under which path they are served. Pure."""

from __future__ import annotations

from arbora.kubernetes.discovery import Resource
from arbora.manifests.objects import Gvk

MANAGER = "arbora-hub"
"""Our name in server-side apply."""
GROUP = "arbora.dev/v1"
INVENTORY = "multicluster.x-k8s.io/v1alpha1"


def _kind(api_version: str, kind: str, plural: str, *, namespaced: bool = True) -> Resource:
    return Resource(Gvk(api_version, kind), plural, namespaced)


NAMESPACE = _kind("v1", "Namespace", "namespaces", namespaced=False)
SECRET = _kind("v1", "Secret", "secrets")
FLEET = _kind(GROUP, "Fleet", "fleets", namespaced=False)
AUTH_TOKEN_REQUEST = _kind(GROUP, "AuthTokenRequest", "authtokenrequests")
CLUSTER_PROFILE = _kind(INVENTORY, "ClusterProfile", "clusterprofiles")
