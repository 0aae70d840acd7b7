"""The gateway of a hub in a cluster: a Service that keeps clients' addresses, and the step that opens it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from arbora.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
KUBERNETES = ROOT / "deploy" / "kubernetes"
STEP = re.compile(r"patch deployment arbora-hub --type json --patch \\\n#? *'(\[.*?\])'", re.DOTALL)


def objects(name: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((KUBERNETES / name).read_text()) if each["kind"] == kind]


def operations(page: Path) -> list[dict[str, str]]:
    (text,) = STEP.findall(page.read_text())
    found: list[dict[str, str]] = json.loads(text.replace("\n#", "\n"))
    return found


@pytest.mark.parametrize("page", [KUBERNETES / "hub-face.yaml", ROOT / "docs" / "reach.md"], ids=str)
def test_the_documented_step_makes_the_hub_listen_where_the_service_leads(page: Path) -> None:
    (deployment,) = objects("hub.yaml", "Deployment")
    (service,) = objects("hub-face.yaml", "Service")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (7447, 7447)
    added = operations(page)
    for each in added:
        assert (each["op"], each["path"]) == ("add", "/spec/template/spec/containers/0/args/-")
    assert added[0]["value"] == f"--gateway-address=:{port['targetPort']}"
    serve = typer.main.get_command(app).commands["hub"].commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert {each["value"].partition("=")[0] for each in added} <= known
    assert not [each for each in container["args"] if "gateway" in each]


def test_its_service_leads_to_the_hub_and_is_reached_from_inside_the_cluster_only() -> None:
    (deployment,) = objects("hub.yaml", "Deployment")
    (service,) = objects("hub-face.yaml", "Service")
    assert service["metadata"]["name"] == "arbora-hub-gateway"
    assert service["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_no_service_that_hides_where_clients_are_has_the_gateway() -> None:
    for file in KUBERNETES.glob("*.yaml"):
        for service in objects(file.name, "Service"):
            outside = service["spec"].get("type", "ClusterIP") != "ClusterIP"
            kept = service["spec"].get("externalTrafficPolicy") == "Local"
            assert not (outside and not kept and 7447 in [port["port"] for port in service["spec"]["ports"]])
