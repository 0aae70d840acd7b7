"""deploy/kubernetes/hub-face.yaml: no more rights than the hub's face uses, on what the CRDs here define."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

KUBERNETES = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes"
CRDS = sorted((KUBERNETES / "crds").glob("*.yaml"))


@pytest.fixture
def rules() -> list[dict[str, Any]]:
    objects = list(yaml.safe_load_all((KUBERNETES / "hub-face.yaml").read_text()))
    (role,) = (each for each in objects if each["kind"] == "ClusterRole")
    found: list[dict[str, Any]] = role["rules"]
    return found


def test_nothing_reaches_secrets_or_everything(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        for values in (rule["apiGroups"], rule["resources"], rule["verbs"]):
            assert "*" not in values
        assert "secrets" not in rule["resources"]


def test_namespaces_are_labelled_and_never_made(rules: list[dict[str, Any]]) -> None:
    (verbs,) = (rule["verbs"] for rule in rules if rule["resources"] == ["namespaces"])
    assert set(verbs) == {"get", "list", "watch", "patch"}


def test_each_kind_with_a_group_is_defined_here(rules: list[dict[str, Any]]) -> None:
    names = {yaml.safe_load(file.read_text())["metadata"]["name"] for file in CRDS}
    for rule in rules:
        for group in filter(None, rule["apiGroups"]):
            for resource in rule["resources"]:
                assert f"{resource.partition('/')[0]}.{group}" in names


def test_the_hub_has_these_rights_only_by_a_step_of_its_own() -> None:
    (deployment,) = (
        each for each in yaml.safe_load_all((KUBERNETES / "hub.yaml").read_text()) if each["kind"] == "Deployment"
    )
    pod = deployment["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
