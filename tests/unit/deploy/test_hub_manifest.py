"""deploy/kubernetes/hub.yaml fits the hub, its image and itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from arbora.cli.main import app
from arbora.version import __version__
from arbora_hub.settings import CLIENT_PORT, JOIN_PORT, SESSION_PORT
from tests.unit.deploy.dockerfile import last, stages

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
PORTS = {"client": CLIENT_PORT, "join": JOIN_PORT, "session": SESSION_PORT}


@pytest.fixture
def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "hub.yaml").read_text()))


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


@pytest.fixture
def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_kind(objects, "Deployment")
    return found


@pytest.fixture
def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return found


def test_everything_is_in_the_one_namespace_that_comes_first(objects: list[dict[str, Any]]) -> None:
    assert objects[0]["kind"] == "Namespace"
    inside = {each["metadata"]["namespace"] for each in objects[1:]}
    assert inside == {objects[0]["metadata"]["name"]}


def test_the_container_has_the_hubs_three_ports(container: dict[str, Any]) -> None:
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == PORTS


def test_the_hub_is_told_to_listen_on_these_ports(container: dict[str, Any]) -> None:
    for name, port in PORTS.items():
        assert f"--{name}-address=:{port}" in container["args"]


def test_the_command_line_takes_its_arguments(container: dict[str, Any]) -> None:
    serve = typer.main.get_command(app).commands["hub"].commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert container["args"][:2] == ["hub", "serve"]
    assert {each.partition("=")[0] for each in container["args"][2:]} <= known


def test_the_services_lead_to_the_pod_and_members_find_both_ports_at_one_address(
    objects: list[dict[str, Any]], deployment: dict[str, Any]
) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    services = of_kind(objects, "Service")
    for service in services:
        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert (port["targetPort"], port["port"]) == (port["name"], PORTS[port["name"]])
    offered = [{port["name"] for port in service["spec"]["ports"]} for service in services]
    assert sorted(offered, key=len) == [{"client"}, {"join", "session"}]


def test_two_hubs_never_share_the_database(deployment: dict[str, Any]) -> None:
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_the_data_directory_is_on_the_claim(
    objects: list[dict[str, Any]], deployment: dict[str, Any], container: dict[str, Any]
) -> None:
    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    volumes = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert f"--data-dir={mounts['data']}/hub" in container["args"]
    assert mounts.keys() == volumes.keys()


def test_the_pod_has_no_rights_it_does_not_need(deployment: dict[str, Any], container: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    user = last(stages(DEPLOY / "hub.Dockerfile")[-1], "USER").rest
    assert user == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_image_is_this_version(container: dict[str, Any]) -> None:
    assert container["image"] == f"arbora-hub:{__version__}"
