"""What a ClusterProfile says of a member. Pure.

    body      who manages it, whom it stands for              written by the main resource
    status    conditions, version, properties, the way in     written by /status

Only what changes seldom: classes and numbers of GPUs, never how many are free. Facts that are not known yet, or
not any more, leave what stands there; a member whose lease still runs is what it was before.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from arbora.client.kubeconfig import SERVER
from arbora_hub.gateway.naming import dotted
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.conditions import Condition, by_key, written
from arbora_hub.kubernetes.view import MemberView

MANAGER_LABEL = "x-k8s.io/cluster-manager"
PATH_ANNOTATION = "arbora.dev/path"
UID_ANNOTATION = "arbora.dev/cluster-uid"
EXEC_EXTENSION = "client.authentication.k8s.io/exec"
"""What client-go hands to a credential plugin. The two others that KEP-5339 knows are never written: one leaks
from cluster to cluster in the shared library, the other ends its process if it is null."""
UID_PROPERTY = "cluster.clusterset.k8s.io"
SET_PROPERTY = "clusterset.k8s.io"
GPUS = "gpus.arbora.dev/"
LOCATION = "location.arbora.dev/"
TOPOLOGY = "topology.kubernetes.io/"
PLAIN_LOCATIONS = ("region", "zone")
"""Labels of members that say where they are, beside those of Kubernetes."""
MAX_PROPERTY_NAME = 253
MAX_PROPERTY_VALUE = 1024
"""Characters that a ClusterProfile takes."""
HEALTHY, JOINED, COMPLETE = "ControlPlaneHealthy", "Joined", "PropertiesComplete"
HEALTH = (HEALTHY, JOINED)

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all profiles of this hub have in common."""

    manager: str
    hub: str
    """host:port at which clients reach this hub."""
    gateway: str = ""
    """host:port of its proxy into members; empty: it has none."""
    authorities: bytes = field(default=b"", repr=False)
    """What verifies the gateway, in PEM: CAs, no leaves."""


def is_ours(profile: Raw, manager: str) -> bool:
    """Whether this hub manages a profile. The field can't be changed once it is set; the label can."""
    named = (profile.get("spec") or {}).get("clusterManager") or {}
    return bool(named.get("name") == manager)


def body_of(view: MemberView, name: str, namespace: str, manager: str) -> Raw:
    """For the main resource."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {MANAGER_LABEL: manager},
            "annotations": {PATH_ANNOTATION: view.path, UID_ANNOTATION: view.cluster_uid},
        },
        "spec": {"displayName": view.path, "clusterManager": {"name": manager}},
    }


def status_of(view: MemberView, name: str, cluster_set: str, around: Surroundings, live: Raw, now: str) -> Raw:
    """For /status. live: the profile as it stands there, at least its metadata. now: RFC 3339."""
    status: Raw = live.get("status") or {}
    if status and (view.facts is None or view.liveness is not Liveness.ONLINE):
        told = {key: status[key] for key in ("version", "properties", "accessProviders") if key in status}
        complete = _as_before(status, COMPLETE)
    else:
        properties, left_out = properties_of(view, cluster_set)
        told = {"properties": _observed(properties, status, now)}
        if ways := _ways(view, name, around):
            told["accessProviders"] = ways
        if view.facts is not None and view.facts.kubernetes_version:
            told["version"] = {"kubernetes": view.facts.kubernetes_version}
        complete = _completeness(left_out) if view.facts is not None else None
    conditions = (*health_of(view.liveness, view.api_healthy, status), *([complete] if complete else []))
    generation = int(live["metadata"].get("generation", 1))
    return {**told, "conditions": written(conditions, status.get("conditions"), generation, now)}


def status_of_kept(liveness: Liveness, api_healthy: bool | None, live: Raw, now: str) -> Raw:
    """For /status, of a member that is not known now or not asked for: as it was, but for its health."""
    status: Raw = live.get("status") or {}
    told = {key: status[key] for key in ("version", "properties", "accessProviders") if key in status}
    complete = _as_before(status, COMPLETE)
    conditions = (*health_of(liveness, api_healthy, status), *([complete] if complete else []))
    generation = int(live["metadata"].get("generation", 1))
    return {**told, "conditions": written(conditions, status.get("conditions"), generation, now)}


def health_of(liveness: Liveness, api_healthy: bool | None, status: Raw) -> tuple[Condition, Condition]:
    """ControlPlaneHealthy and Joined. status: what stands there; it holds while a lease still runs."""
    match liveness:
        case Liveness.ONLINE:
            joined = Condition(JOINED, "True", "Online", "the member has a session with its hub")
            if api_healthy is None:
                sentence = "the hub that the member is joined to does not say whether its API server answers"
                return Condition(HEALTHY, "Unknown", "NotReported", sentence), joined
            if api_healthy:
                sentence = "the member's agent reaches its API server"
                return Condition(HEALTHY, "True", "HealthCheckCompleted", sentence), joined
            sentence = "the member's agent does not reach its API server"
            return Condition(HEALTHY, "False", "ApiServerUnreachable", sentence), joined
        case Liveness.LOST:
            sentence = "the member's lease has run out: its hub has not heard of it"
            return Condition(HEALTHY, "False", "LeaseEnded", sentence), Condition(
                JOINED, "False", "LeaseEnded", sentence
            )
        case Liveness.JOINING:
            sentence = "the member has never connected to its hub"
            return Condition(HEALTHY, "Unknown", "NeverConnected", sentence), Condition(
                JOINED, "False", "NeverConnected", sentence
            )
        case Liveness.SUSPECT:
            sentence = "the member is not heard of now; its lease still runs"
            return (
                _as_before(status, HEALTHY) or Condition(HEALTHY, "Unknown", "LeaseRuns", sentence),
                _as_before(status, JOINED) or Condition(JOINED, "Unknown", "LeaseRuns", sentence),
            )


def properties_of(view: MemberView, cluster_set: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Name -> value, and the names of those that can't stand in a profile or were not reported."""
    facts = view.facts
    said = dict(facts.properties) if facts is not None else {}
    left_out = set(facts.properties_left_out if facts is not None else ())
    fitting = {name for name, value in said.items() if _fits(name, value)}
    left_out.update(said.keys() - fitting)
    found = {name: said[name] for name in fitting}
    # what the member says of itself is left as it is, also where it was too long to be shown
    own = _own(view, cluster_set).items()
    found |= {name: value for name, value in own if name not in said and _fits(name, value)}
    return dict(sorted(found.items())), tuple(sorted(left_out))


def _fits(name: str, value: str) -> bool:
    return 0 < len(name) <= MAX_PROPERTY_NAME and 0 < len(value) <= MAX_PROPERTY_VALUE


def _own(view: MemberView, cluster_set: str) -> dict[str, str]:
    """What this hub knows of the member."""
    own = {UID_PROPERTY: view.cluster_uid, SET_PROPERTY: cluster_set}
    own |= {f"{LOCATION}{label}": view.labels.get(label, "") for label in PLAIN_LOCATIONS}
    own |= {
        f"{LOCATION}{label.removeprefix(TOPOLOGY)}": value
        for label, value in view.labels.items()
        if label.startswith(TOPOLOGY)
    }
    own.update({f"{GPUS}{one.gpu_class.key}": str(one.total) for one in view.gpus if one.total})
    return own


def _observed(properties: Mapping[str, str], status: Raw, now: str) -> list[dict[str, str]]:
    """As list entries; the time stays while the value does."""
    there = by_key(status.get("properties"), "name")
    made = []
    for name, value in properties.items():
        before = there.get(name, {})
        time = before.get("lastObservedTime") if before.get("value") == value else now
        made.append({"name": name, "value": value, **({"lastObservedTime": time} if time else {})})
    return made


def _ways(view: MemberView, name: str, around: Surroundings) -> list[dict[str, Any]]:
    """The way in through the gateway, where there is one."""
    facts = view.facts
    # A list of CAs without the member's own would keep clients from those that they know by themselves.
    if facts is None or not facts.reachable or not facts.api_ca_pem or not around.gateway:
        return []
    plugin = {"clusterName": name, "clusterUID": view.cluster_uid, "path": view.path, "hub": around.hub}
    authorities = facts.api_ca_pem.rstrip(b"\n") + b"\n" + around.authorities
    cluster = {
        "server": SERVER,
        "proxy-url": f"https://{quote(dotted(view.relative), safe='')}@{around.gateway}",
        "certificate-authority-data": base64.b64encode(authorities).decode(),
        "extensions": [{"name": EXEC_EXTENSION, "extension": plugin}],
    }
    return [{"name": around.manager, "cluster": cluster}]


def _completeness(left_out: tuple[str, ...]) -> Condition:
    if not left_out:
        return Condition(COMPLETE, "True", "AllPublished", "every property of the member is here, word for word")
    shown = ", ".join(left_out[:20]) + (f" and {len(left_out) - 20} more" if len(left_out) > 20 else "")
    sentence = (
        f"left out, as they have no value or one of more than {MAX_PROPERTY_VALUE} characters, or too many: "
    )
    return Condition(COMPLETE, "False", "LeftOut", sentence + shown)


def _as_before(status: Raw, kind: str) -> Condition | None:
    one = by_key(status.get("conditions"), "type").get(kind)
    if one is None:
        return None
    return Condition(kind, *(str(one.get(key, "")) for key in ("status", "reason", "message")))
