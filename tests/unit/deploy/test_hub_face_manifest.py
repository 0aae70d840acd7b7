"""deploy/kubernetes/hub-face.yaml: no more rights than the hub's face uses, on what the CRDs here define."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from arbora_hub.kubernetes.fleets.spec import read_fleet
from arbora_hub.kubernetes.multikueue.ownership import ORDER
from arbora_hub.kubernetes.multikueue.rights import rules as multikueue_rules
from arbora_hub.kubernetes.tokens.spec import read_spec

KUBERNETES = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes"
CRDS = sorted((KUBERNETES / "crds").glob("*.yaml"))


@pytest.fixture
def rules() -> list[dict[str, Any]]:
    objects = list(yaml.safe_load_all((KUBERNETES / "hub-face.yaml").read_text()))
    (role,) = (each for each in objects if each["kind"] == "ClusterRole")
    found: list[dict[str, Any]] = role["rules"]
    return found


def test_nothing_reaches_everything_and_secrets_are_neither_listed_nor_watched(
    rules: list[dict[str, Any]],
) -> None:
    for rule in rules:
        for values in (rule["apiGroups"], rule["resources"], rule["verbs"]):
            assert "*" not in values
        if "secrets" in rule["resources"]:
            assert rule["resources"] == ["secrets"]
            assert set(rule["verbs"]) == {"get", "create", "update", "delete"}


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


@pytest.mark.parametrize("name", ["fleet", "auth-token-request"])
def test_the_examples_of_the_face_are_read_without_complaint(name: str) -> None:
    body = yaml.safe_load((KUBERNETES.parent / "examples" / "kubernetes" / f"{name}.yaml").read_text())
    if body["kind"] == "Fleet":
        assert read_fleet(body).faults == ()
    else:
        assert read_spec(body).profile


def test_what_a_member_lets_kueue_have_is_what_the_hub_asks_for() -> None:
    (role,) = yaml.safe_load_all((KUBERNETES / "member-multikueue.yaml").read_text())
    assert role["rules"] == multikueue_rules()


def test_multikueue_needs_no_more_of_the_hubs_cluster_than_it_writes() -> None:
    role, _ = yaml.safe_load_all((KUBERNETES / "hub-multikueue.yaml").read_text())
    written = {f"{kind.plural}.{kind.gvk.group}" for kind in ORDER}
    for rule in role["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        if set(rule["verbs"]) & {"create", "delete"} and rule["apiGroups"] != [""]:
            assert {f"{each}.{rule['apiGroups'][0]}" for each in rule["resources"]} <= written
