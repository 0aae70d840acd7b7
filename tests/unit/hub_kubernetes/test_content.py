"""What a ClusterProfile says of a member, and when that is something else than what stands there."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from arbora.capacity.gpus import GpuClass
from arbora_hub.inventory.facts import Facts
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.conditions import by_key
from arbora_hub.kubernetes.profiles.comparing import body_differs, health_differs, status_differs
from arbora_hub.kubernetes.profiles.content import (
    Surroundings,
    body_of,
    is_ours,
    properties_of,
    status_of,
    status_of_kept,
)
from arbora_hub.kubernetes.view import GpuTotals, MemberView

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
AROUND = Surroundings("arbora-eu", "hub.example.org:7443", "hub.example.org:7447", b"HUB CA\n")
FACTS = Facts("v1.36.0", b"MEMBER CA\n", True, (("color.example.org", " blue "),))
VIEW = MemberView(
    path="/eu/paris/edge-7",
    relative="paris/edge-7",
    liveness=Liveness.ONLINE,
    labels={"region": "eu", "topology.kubernetes.io/zone": "eu-1a", "team": "x"},
    cluster_uid="uid-7",
    gpus=(GpuTotals(GpuClass("nvidia", "H100"), 16, 3, 1), GpuTotals(GpuClass("nvidia", "T4"), 0, 0, 0)),
    api_healthy=True,
    digest=b"d",
    facts=FACTS,
)


def live(status: Any = None, **metadata: Any) -> dict[str, Any]:
    body = dict(body_of(VIEW, "eu-paris-edge-7", "team", "arbora-eu"))
    body["metadata"] = {**body["metadata"], "generation": 1, "uid": "u", **metadata}
    return {**body, "status": status} if status is not None else body


def status(view: MemberView = VIEW, there: dict[str, Any] | None = None, now: str = NOW) -> dict[str, Any]:
    return dict(status_of(view, "eu-paris-edge-7", "europe", AROUND, there or live(), now))


def said(one: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: f"{each['status']} {each['reason']}" for each in one["conditions"]}


def test_it_names_the_manager_in_both_places_and_the_member() -> None:
    body = body_of(VIEW, "eu-paris-edge-7", "team", "arbora-eu")
    assert body["metadata"]["labels"] == {"x-k8s.io/cluster-manager": "arbora-eu"}
    assert body["spec"] == {"displayName": "/eu/paris/edge-7", "clusterManager": {"name": "arbora-eu"}}
    assert body["metadata"]["annotations"] == {
        "arbora.dev/path": "/eu/paris/edge-7",
        "arbora.dev/cluster-uid": "uid-7",
    }
    assert is_ours(body, "arbora-eu")
    assert not is_ours(body, "arbora")
    assert not is_ours({"metadata": {}}, "arbora")


def test_a_healthy_member_says_version_and_properties() -> None:
    found = status()
    assert said(found) == {
        "ControlPlaneHealthy": "True HealthCheckCompleted",
        "Joined": "True Online",
        "PropertiesComplete": "True AllPublished",
    }
    assert found["version"] == {"kubernetes": "v1.36.0"}
    assert {one["name"]: one["value"] for one in found["properties"]} == {
        "color.example.org": " blue ",
        "cluster.clusterset.k8s.io": "uid-7",
        "clusterset.k8s.io": "europe",
        "gpus.arbora.dev/nvidia:H100::exclusive": "16",
        "location.arbora.dev/region": "eu",
        "location.arbora.dev/zone": "eu-1a",
    }


def test_the_way_in_is_through_the_gateway_with_both_authorities_and_without_any_secret() -> None:
    (way,) = status()["accessProviders"]
    cluster = way["cluster"]
    assert way["name"] == "arbora-eu"
    assert cluster["server"] == "https://kubernetes.default.svc:443"
    assert cluster["proxy-url"] == "https://edge-7.paris@hub.example.org:7447"
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"MEMBER CA\nHUB CA\n"
    assert cluster["extensions"] == [
        {
            "name": "client.authentication.k8s.io/exec",
            "extension": {
                "clusterName": "eu-paris-edge-7",
                "clusterUID": "uid-7",
                "path": "/eu/paris/edge-7",
                "hub": "hub.example.org:7443",
            },
        }
    ]


@pytest.mark.parametrize(
    ("facts", "gateway"),
    [(replace(FACTS, reachable=False), "hub:1"), (FACTS, ""), (replace(FACTS, api_ca_pem=b""), "hub:1")],
)
def test_without_a_way_in_none_is_said(facts: Facts, gateway: str) -> None:
    around = replace(AROUND, gateway=gateway)
    assert "accessProviders" not in status_of(replace(VIEW, facts=facts), "n", "s", around, live(), NOW)


@pytest.mark.parametrize(
    ("liveness", "api_healthy", "healthy", "joined"),
    [
        (Liveness.ONLINE, True, "True HealthCheckCompleted", "True Online"),
        (Liveness.ONLINE, False, "False ApiServerUnreachable", "True Online"),
        (Liveness.ONLINE, None, "Unknown NotReported", "True Online"),
        (Liveness.SUSPECT, True, "Unknown LeaseRuns", "Unknown LeaseRuns"),
        (Liveness.LOST, True, "False LeaseEnded", "False LeaseEnded"),
        (Liveness.JOINING, None, "Unknown NeverConnected", "False NeverConnected"),
    ],
)
def test_health_is_by_liveness_and_by_the_api_server(
    liveness: Liveness, api_healthy: bool | None, healthy: str, joined: str
) -> None:
    found = said(status(replace(VIEW, liveness=liveness, api_healthy=api_healthy)))
    assert (found["ControlPlaneHealthy"], found["Joined"]) == (healthy, joined)


def test_while_its_lease_runs_a_member_is_what_it_was() -> None:
    there = live(status())
    suspect = replace(VIEW, liveness=Liveness.SUSPECT, api_healthy=False, gpus=(), facts=None)
    assert not status_differs(status(suspect, there, LATER), there["status"])


def test_a_member_that_is_lost_keeps_its_facts_and_changes_its_health() -> None:
    there = live(status())
    lost = status(replace(VIEW, liveness=Liveness.LOST, gpus=()), there, LATER)
    assert health_differs(lost, there["status"])
    assert lost["properties"] == there["status"]["properties"]
    times = {one["type"]: one["lastTransitionTime"] for one in lost["conditions"]}
    assert times == {"ControlPlaneHealthy": LATER, "Joined": LATER, "PropertiesComplete": NOW}


def test_facts_that_are_not_known_yet_leave_what_stands_there() -> None:
    there = live(status())
    assert not status_differs(status(replace(VIEW, facts=None), there, LATER), there["status"])
    first = status(replace(VIEW, facts=None))
    assert "version" not in first
    assert "PropertiesComplete" not in said(first)
    assert by_key(first["properties"], "name")["cluster.clusterset.k8s.io"]["value"] == "uid-7"


def test_what_cannot_stand_there_is_left_out_whole_and_named() -> None:
    properties = (("empty", ""), ("fits", "é" * 1024), ("large", "x" * 1025))
    view = replace(VIEW, facts=replace(FACTS, properties=properties, properties_left_out=("more",)))
    found, left_out = properties_of(view, "europe")
    assert left_out == ("empty", "large", "more")
    assert found["fits"] == "é" * 1024
    assert "large" not in found
    whole = status(view)
    assert said(whole)["PropertiesComplete"] == "False LeftOut"
    assert "empty, large, more" in by_key(whole["conditions"], "type")["PropertiesComplete"]["message"]


def test_what_a_member_says_of_itself_is_never_replaced_by_what_the_hub_knows() -> None:
    own = (("cluster.clusterset.k8s.io", "mine"), ("clusterset.k8s.io", "x" * 1025))
    found, left_out = properties_of(replace(VIEW, facts=replace(FACTS, properties=own)), "europe")
    assert found["cluster.clusterset.k8s.io"] == "mine"
    assert "clusterset.k8s.io" not in found
    assert left_out == ("clusterset.k8s.io",)


def test_a_property_keeps_its_time_until_its_value_changes() -> None:
    there = live(status())
    changed = replace(VIEW, gpus=(GpuTotals(GpuClass("nvidia", "H100"), 24, 0, 0),))
    times = {one["name"]: one["lastObservedTime"] for one in status(changed, there, LATER)["properties"]}
    assert times.pop("gpus.arbora.dev/nvidia:H100::exclusive") == LATER
    assert set(times.values()) == {NOW}


def test_free_gpus_are_nowhere() -> None:
    there = live(status())
    busy = replace(VIEW, gpus=(GpuTotals(GpuClass("nvidia", "H100"), 16, 0, 9),))
    assert not status_differs(status(busy, there, LATER), there["status"])


def test_a_member_that_is_not_known_now_is_as_it_was_but_for_its_health() -> None:
    there = live(status())
    assert not status_differs(status_of_kept(Liveness.SUSPECT, None, there, LATER), there["status"])
    lost = dict(status_of_kept(Liveness.LOST, None, there, LATER))
    assert said(lost)["ControlPlaneHealthy"] == "False LeaseEnded"
    assert lost["accessProviders"] == there["status"]["accessProviders"]


def test_what_others_add_is_no_difference_and_what_they_change_is() -> None:
    there = live(status(), labels={"x-k8s.io/cluster-manager": "arbora-eu", "theirs": "1"})
    wanted = body_of(VIEW, "eu-paris-edge-7", "team", "arbora-eu")
    assert not body_differs(wanted, there)
    there["status"]["conditions"].append({"type": "Theirs", "status": "True"})
    assert not status_differs(status(VIEW, there), there["status"])
    there["metadata"]["labels"]["x-k8s.io/cluster-manager"] = "other"
    assert body_differs(wanted, there)
    there["status"]["version"] = {"kubernetes": "v0"}
    assert status_differs(status(VIEW, there), there["status"])
    assert body_differs(wanted, {"metadata": {}})
