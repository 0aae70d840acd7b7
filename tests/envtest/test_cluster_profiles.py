"""ClusterProfiles on a real API server: what is published of a tree, when, and how often it is written."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from arbora.clock import LoopClock
from arbora_agent.cluster.simulated import Simulation
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import ApiAnswer, Driver, KubernetesWorld
from tests.envtest.installed import install, running, settings
from tests.envtest.published import (
    FLEETS,
    Published,
    condition,
    health,
    hub_below,
    hub_with_face,
    profiles_of,
    properties,
    published,
)
from tests.envtest.test_deploy import kubectl
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, ports_of, running_agent

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
log = logging.getLogger(__name__)

SET = "multicluster.x-k8s.io/clusterset"
long = pytest.mark.timeout(60, func_only=True)
"""Waits for several real seconds, and the machine may be busy."""
FAST = {"heartbeat_interval": 0.3, "lease_duration": 1.5}
"""Of a lease that a test can wait for."""


@long
async def test_every_member_at_any_depth_has_a_profile(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    """A simulated member and a real one, at the root and below a child hub."""
    async with published(driver) as it, KubernetesWorld(driver) as world:
        pod = tmp_path / "pod"
        pod.mkdir()
        access = await install(plane, driver, pod, settings(namespace=world.name("arbora")))
        async with hub_with_face(plane, tmp_path / "root") as root, hub_below(root, tmp_path, "eu") as eu:
            simulation = Simulation("1x8xH100", name="sim", clock=LoopClock())
            simulation.say("color.example.org", " blue ")
            simulation.say("large.example.org", "x" * 1025)
            token = await eu.join_token("real", labels={"topology.kubernetes.io/region": "eu-west"})
            async with (
                running_agent(root, tmp_path, "sim", simulation=simulation, labels={"region": "us"}),
                running(eu.hub, access, tmp_path / "real", token) as agent,
            ):
                await it.apply_fleet(clusterSet="all")
                sim = await it.until("sim", lambda body: health(body) == ("True", "True"))
                real = await it.until("eu-real", lambda body: health(body) == ("True", "True"))
                await it.until_names("sim", "eu-real")
                assert agent.online
                for body, path in ((sim, "/sim"), (real, "/eu/real")):
                    assert body["spec"] == {"displayName": path, "clusterManager": {"name": "arbora-test"}}
                    assert body["metadata"]["labels"]["x-k8s.io/cluster-manager"] == "arbora-test"
                    assert body["metadata"]["annotations"]["arbora.dev/path"] == path
                _check_simulated(sim)
                _check_real(real, root.hub.client_address, root.hub.gateway.address)
                assert profiles_of(root).path_of(it.namespace, "eu-real") == "/eu/real"
                assert profiles_of(root).path_of(it.namespace, "nobody") is None
                namespace = await driver.ask("GET", f"/api/v1/namespaces/{it.namespace}")
                labels = namespace["metadata"]["labels"]
                assert (labels[SET], labels["clusterset.multicluster.x-k8s.io"]) == ("all", "all")
                await eventually(lambda: _is_ready(it), "the Fleet is ready")
                status = await it.fleet_status()
                assert (status["members"], status["published"], status["observedGeneration"]) == (2, 2, 1)
                if plane.kubectl is not None:
                    code, printed = await kubectl(plane, "get", "clusterprofiles", "-A")
                    assert code == 0
                    assert "eu-real" in printed
                    code, printed = await kubectl(plane, "get", "fl")
                    assert code == 0
                    assert "Published" in printed


def _check_simulated(body: dict[str, Any]) -> None:
    assert body["status"]["version"] == {"kubernetes": "v1.36.0-simulated"}
    found = properties(body)
    assert found["color.example.org"] == " blue "
    assert found["clusterset.k8s.io"] == "all"
    assert found["gpus.arbora.dev/nvidia:H100::exclusive"] == "8"
    assert found["location.arbora.dev/region"] == "us"
    assert "large.example.org" not in found
    assert condition(body["status"], "PropertiesComplete")[:2] == ("False", "LeftOut")
    assert "accessProviders" not in body["status"]


def _check_real(body: dict[str, Any], hub: str, gateway: str) -> None:
    found = properties(body)
    assert found["location.arbora.dev/region"] == "eu-west"
    assert found["cluster.clusterset.k8s.io"] == body["metadata"]["annotations"]["arbora.dev/cluster-uid"]
    (way,) = body["status"]["accessProviders"]
    cluster = way["cluster"]
    assert (way["name"], cluster["server"]) == ("arbora-test", "https://kubernetes.default.svc:443")
    assert cluster["proxy-url"] == f"https://real.eu@{gateway}"
    authorities = x509.load_pem_x509_certificates(base64.b64decode(cluster["certificate-authority-data"]))
    assert len(authorities) == 2
    for one in authorities:
        assert one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    (extension,) = cluster["extensions"]
    assert extension["name"] == "client.authentication.k8s.io/exec"
    assert extension["extension"] == {
        "clusterName": "eu-real",
        "clusterUID": found["cluster.clusterset.k8s.io"],
        "path": "/eu/real",
        "hub": hub,
    }


def _has_gpus(body: dict[str, Any]) -> bool:
    return "gpus.arbora.dev/nvidia:H100::exclusive" in properties(body)


async def _is_ready(it: Published) -> bool:
    return (await it.ready())[0] == "True"


@long
async def test_a_member_is_unhealthy_within_its_lease_at_any_depth(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with (
        published(driver) as it,
        hub_with_face(plane, tmp_path / "root", profile_seconds=1.0, **FAST) as root,
    ):
        async with hub_below(root, tmp_path, "eu", startup_grace=0.5, **FAST) as eu:
            async with running_agent(root, tmp_path, "a") as a, running_agent(eu, tmp_path, "b") as b:
                await it.apply_fleet()
                for name in ("a", "eu-b"):
                    await it.until(name, lambda body: health(body) == ("True", "True"))
                for agent, name in ((a, "a"), (b, "eu-b")):
                    took = await _until_unhealthy(it, agent, name)
                    log.info("%s: %.2f s from the kill to False, lease %s s", name, took, FAST["lease_duration"])
                    # the lease, the second in which hubs judge, and a write
                    assert took < FAST["lease_duration"] + 2.0


async def _until_unhealthy(it: Published, agent: RunningAgent, name: str) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await agent.kill()
    body = await it.until(name, lambda body: health(body) != ("True", "True"))
    took = loop.time() - began
    assert health(body) == ("False", "False")
    assert condition(body["status"], "ControlPlaneHealthy")[1] == "LeaseEnded"
    return took


async def test_a_member_whose_api_server_is_down_is_joined_and_unhealthy(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it, hub_with_face(plane, tmp_path / "root") as root:
        async with running_agent(root, tmp_path, "a") as a:
            await it.apply_fleet()
            await it.until("a", lambda body: health(body) == ("True", "True"))
            a.simulation.fail_api()
            body = await it.until("a", lambda body: health(body) == ("False", "True"))
            assert condition(body["status"], "ControlPlaneHealthy")[1] == "ApiServerUnreachable"


@long
async def test_under_a_storm_each_profile_is_written_once_in_a_while(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    """A property of every member changes all the time; the gap is shortened to 2 s."""
    gap, seconds = 2.0, 6.0
    async with published(driver) as it, hub_with_face(plane, tmp_path / "root", profile_seconds=gap) as root:
        async with hub_below(root, tmp_path, "eu") as eu:
            async with running_agent(root, tmp_path, "a") as a, running_agent(eu, tmp_path, "b") as b:
                await it.apply_fleet()
                for name in ("a", "eu-b"):
                    await it.until(name, lambda body: health(body) == ("True", "True"))
                async with it.following():
                    end = asyncio.get_running_loop().time() + seconds
                    changes = 0
                    while asyncio.get_running_loop().time() < end:
                        changes += 1
                        for agent in (a, b):
                            agent.simulation.say("count.example.org", str(changes))
                        await asyncio.sleep(0.02)
                for name in ("a", "eu-b"):
                    times = [time for time, profile, _ in it.writes if profile == name]
                    log.info("%s: %d writes for %d changes in %s s", name, len(times), changes, seconds)
                    assert len(times) <= seconds / gap + 1
                    assert all(later - before > gap - 0.3 for before, later in pairwise(times))
                assert [time for time, profile, _ in it.writes if profile == "a"]
                wanted = str(changes)
                for name in ("a", "eu-b"):
                    await it.until(
                        name, lambda body: properties(body).get("count.example.org") == wanted, seconds=15
                    )


@long
async def test_a_hub_that_starts_anew_writes_nothing_that_is_so(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it:
        async with hub_with_face(plane, tmp_path / "root", profile_seconds=0.5) as root:
            async with hub_below(root, tmp_path, "eu") as eu:
                async with running_agent(root, tmp_path, "a"), running_agent(eu, tmp_path, "b"):
                    ports = ports_of(root)
                    gateway = root.hub.gateway.address
                    await it.apply_fleet()
                    for name in ("a", "eu-b"):
                        await it.until(name, lambda body: health(body) == ("True", "True") and _has_gpus(body))
                    await eventually(lambda: _is_ready(it), "the Fleet is ready")
        before = {name: body["metadata"]["resourceVersion"] for name, body in (await it.all()).items()}
        async with hub_with_face(plane, tmp_path / "root", gateway_address=gateway, **ports) as root:
            await eventually(lambda: bool(root.hub.face.parts) and profiles_of(root).ready.is_set(), "it knows")
            async with hub_below(root, tmp_path, "eu") as eu:
                async with running_agent(eu, tmp_path, "b"), running_agent(root, tmp_path, "a"):
                    await root.until_reported("a")
                    await eventually(lambda: profiles_of(root).path_of(it.namespace, "eu-b"), "eu-b is known")
                    # longer than anything waits that is not urgent, and than the grace
                    await asyncio.sleep(5.0)
                    after = {name: body["metadata"]["resourceVersion"] for name, body in (await it.all()).items()}
                    assert after == before


@long
async def test_below_a_hub_that_has_not_come_back_yet_nothing_is_deleted_and_nothing_is_healthy(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it:
        fast = {**FAST, "profile_seconds": 0.5}
        async with hub_with_face(plane, tmp_path / "root", **fast) as root:
            async with hub_below(root, tmp_path, "eu", startup_grace=0.5, **FAST) as eu:
                async with running_agent(eu, tmp_path, "b"):
                    await it.apply_fleet()
                    await it.until("eu-b", lambda body: health(body) == ("True", "True"))
        uid = (await it.get("eu-b"))["metadata"]["uid"]
        async with hub_with_face(plane, tmp_path / "root", **fast):
            body = await it.until("eu-b", lambda body: health(body) == ("False", "False"))
            assert body["metadata"]["uid"] == uid
            assert properties(body)["cluster.clusterset.k8s.io"]


@long
async def test_names_that_clash_and_profiles_of_others(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it:
        theirs = {
            "apiVersion": "multicluster.x-k8s.io/v1alpha1",
            "kind": "ClusterProfile",
            "metadata": {"name": "x", "namespace": it.namespace, "labels": {"x-k8s.io/cluster-manager": "ocm"}},
            "spec": {"clusterManager": {"name": "ocm"}},
        }
        version = (await driver.ask("POST", it.path, theirs))["metadata"]["resourceVersion"]
        async with hub_with_face(plane, tmp_path / "root") as root:
            async with hub_below(root, tmp_path, "eu") as eu:
                async with (
                    running_agent(root, tmp_path, "eu-b"),
                    running_agent(eu, tmp_path, "b"),
                    running_agent(root, tmp_path, "x"),
                ):
                    await it.apply_fleet()
                    await eventually(lambda: _is_ready(it), "the Fleet is ready")
                    found = {body["spec"].get("displayName", ""): name for name, body in (await it.all()).items()}
                    assert set(found) == {"", "/eu-b", "/eu/b", "/x"}
                    assert len(set(found.values())) == 4
                    assert "eu-b" in found.values()
                    assert found[""] == "x"
                    assert found["/x"].startswith("x-")
                    for path, name in found.items():
                        assert profiles_of(root).path_of(it.namespace, name) == (path or None)
                    status, reason, message = condition(await it.fleet_status(), "NamesUnique")
                    assert (status, reason) == ("False", "NameTaken")
                    assert "x belongs to the manager 'ocm'" in message
                    await driver.ask("DELETE", f"{FLEETS}/{it.fleet}")
                    await eventually(lambda: _only(it, "x"), "ours are gone")
                    assert (await it.get("x"))["metadata"]["resourceVersion"] == version


async def _only(it: Published, *names: str) -> bool:
    return set(await it.all()) == set(names)


@long
async def test_what_is_edited_or_deleted_comes_back_and_what_leaves_goes(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it, hub_with_face(plane, tmp_path / "root", profile_seconds=1.0) as root:
        async with running_agent(root, tmp_path, "a"), running_agent(root, tmp_path, "b", labels={"tier": "1"}):
            await it.apply_fleet()
            await it.until_names("a", "b")
            await it.until("a", lambda body: health(body) == ("True", "True"))
            uid = (await it.get("a"))["metadata"]["uid"]
            await driver.ask("DELETE", f"{it.path}/a")
            await it.until("a", lambda body: body["metadata"]["uid"] != uid and health(body) == ("True", "True"))
            edit = {"metadata": {"annotations": {"arbora.dev/path": "/b"}}, "spec": {"displayName": "mine"}}
            await driver.merge(f"{it.path}/a", edit)
            assert profiles_of(root).path_of(it.namespace, "a") == "/a"
            body = await it.until("a", lambda body: body["spec"]["displayName"] == "/a")
            assert body["metadata"]["annotations"]["arbora.dev/path"] == "/a"
            edit = {"status": {"conditions": [], "version": {"kubernetes": "v0"}}}
            await driver.merge(f"{it.path}/a/status", edit)
            await it.until("a", lambda body: health(body) == ("True", "True"))
            await it.apply_fleet(paths=[], selector={"matchLabels": {"tier": "1"}})
            await it.until_names("b")
            await root.admin.members.evict("b")
            await it.until_names()
            namespace = f"/api/v1/namespaces/{it.namespace}"
            assert (await driver.ask("GET", namespace))["metadata"]["labels"][SET] == it.fleet
            await driver.ask("DELETE", f"{FLEETS}/{it.fleet}")

            async def unlabelled() -> bool:
                metadata = (await driver.ask("GET", namespace))["metadata"]
                return SET not in metadata["labels"] and "arbora.dev/clusterset-manager" not in str(
                    metadata.get("annotations")
                )

            await eventually(unlabelled, "the labels of the namespace are gone")


async def test_a_fleet_says_what_is_wrong_and_gives_nothing_back_meanwhile(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it, hub_with_face(plane, tmp_path / "root", profile_seconds=1.0) as root:
        async with running_agent(root, tmp_path, "a"):
            with pytest.raises(ApiAnswer, match=r"spec\.paths\[0\]"):
                await it.apply_fleet(paths=["eu"])
            with pytest.raises(ApiAnswer, match="In and NotIn need values"):
                await it.apply_fleet(selector={"matchExpressions": [{"key": "a", "operator": "In"}]})
            await it.apply_fleet(namespaces=[it.namespace, "is-not-there"])

            async def told(reason: str, words: str, fleet: str = "") -> bool:
                found = await it.ready(fleet)
                return found[:2] == ("False", reason) and words in found[2]

            await eventually(lambda: told("NamespaceMissing", "is-not-there"), "it names the namespace")
            await it.until_names("a")
            await it.apply_fleet(clusterSet="x", namespaces=[it.namespace], name="second")
            await eventually(
                lambda: told("ClusterSetConflict", f"{it.namespace} holds the ClusterSet {it.fleet}", "second"),
                "it names the Fleet that has it",
            )
            await it.apply_fleet(multiKueue={"namespace": "kueue-system", "queues": [{"name": "gpu"}]})
            body = await driver.ask("GET", f"{FLEETS}/{it.fleet}")
            assert body["spec"]["multiKueue"]["queues"] == [{"name": "gpu"}]


async def test_a_label_that_somebody_else_has_set_is_left_to_them(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it, hub_with_face(plane, tmp_path / "root"):
        namespace = f"/api/v1/namespaces/{it.namespace}"
        await driver.merge(namespace, {"metadata": {"labels": {SET: "theirs"}}})
        await it.apply_fleet()

        async def told() -> bool:
            return "can't be labelled" in (await it.ready())[2]

        await eventually(told, "the Fleet says so")
        assert (await driver.ask("GET", namespace))["metadata"]["labels"][SET] == "theirs"


async def test_a_property_that_somebody_adds_is_written_against_once(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    async with published(driver) as it, hub_with_face(plane, tmp_path / "root", profile_seconds=0.5) as root:
        async with running_agent(root, tmp_path, "a"):
            await it.apply_fleet()
            await it.until("a", lambda body: health(body) == ("True", "True"))
            added = {"properties": [{"name": "theirs.example.org", "value": "1"}]}
            body = {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile", "status": added}
            body |= {"metadata": {"name": "a", "namespace": it.namespace}}
            async with it.following():
                await driver.ask(
                    "PATCH",
                    f"{it.path}/a/status?fieldManager=them",
                    body,
                    content_type="application/apply-patch+yaml",
                )
                await asyncio.sleep(5.0)
            assert Counter(what for _, _, what in it.writes) == {"MODIFIED": 1}
            assert properties(await it.get("a"))["theirs.example.org"] == "1"


@long
async def test_the_rights_of_the_manifest_are_enough(plane: ControlPlane, driver: Driver, tmp_path: Path) -> None:
    if plane.kubectl is None:
        pytest.skip("no kubectl beside the kube-apiserver")
    namespace = yaml.safe_dump(next(iter(yaml.safe_load_all((DEPLOY / "hub.yaml").read_text()))))
    for given in (namespace, (DEPLOY / "hub-face.yaml").read_text()):
        code, printed = await kubectl(plane, "apply", "--validate=strict", "-f", "-", given=given)
        assert code == 0, printed
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = "/api/v1/namespaces/arbora-hub/serviceaccounts/arbora-hub/token"
    token = (await driver.ask("POST", path, request))["status"]["token"]
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    (tmp_path / "face.yaml").write_text(yaml.safe_dump(config))
    async with published(driver) as it:
        face = {"kubeconfig": str(tmp_path / "face.yaml"), "profile_seconds": 1.0}
        async with hub_with_face(plane, tmp_path / "root", **face) as root, running_agent(root, tmp_path, "a"):
            await it.apply_fleet()
            await it.until("a", lambda body: health(body) == ("True", "True"))
            await eventually(lambda: _is_ready(it), "the Fleet is ready")
            labels = (await driver.ask("GET", f"/api/v1/namespaces/{it.namespace}"))["metadata"]["labels"]
            assert labels[SET] == it.fleet
            await driver.ask("DELETE", f"{FLEETS}/{it.fleet}")
            await it.until_names()


async def test_a_hub_whose_api_server_has_none_of_it_works_all_the_same(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    """Its user may do nothing, as in a cluster without the CRDs and the rights."""
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": "of-nobody"}}]
    (tmp_path / "face.yaml").write_text(yaml.safe_dump(config))
    async with hub_with_face(plane, tmp_path / "root", kubeconfig=str(tmp_path / "face.yaml")) as root:
        async with running_agent(root, tmp_path, "a") as agent:
            await agent.until_online()
            await root.until_reported("a")
