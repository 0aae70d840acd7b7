"""Reading an AuthTokenRequest: defaults, and each thing that is wrong by its field."""

from __future__ import annotations

from typing import Any

import pytest

from arbora.errors import InvalidInput
from arbora_hub.kubernetes.tokens.spec import grant_id, read_spec


def request(**spec: Any) -> dict[str, Any]:
    base = {"targetClusterProfile": {"name": "eu-edge-7"}, "serviceAccountName": "work", **spec}
    return {"metadata": {"name": "work", "namespace": "team", "uid": "7"}, "spec": base}


def test_the_request_of_the_slides_is_read_with_safe_defaults() -> None:
    spec = read_spec(request(clusterRoles=[{"name": "cluster-admin"}]))
    assert (spec.profile, spec.account, spec.account_namespace) == ("eu-edge-7", "work", "default")
    assert (spec.seconds, spec.fraction, spec.secret) == (3600, 0.8, "work")
    assert [role.name for role in spec.cluster_roles] == ["cluster-admin"]
    assert spec.grant("7").id == grant_id("7") == "atr-7"


def test_rules_come_through_whole() -> None:
    rule = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"], "resourceNames": ["one"]}
    (role,) = read_spec(request(roles=[{"namespace": "team", "name": "r", "rules": [rule]}])).roles
    assert (role.namespace, role.name) == ("team", "r")
    (read,) = role.rules
    assert (list(read.api_groups), list(read.resources), list(read.verbs)) == (["batch"], ["jobs"], ["get"])
    assert list(read.resource_names) == ["one"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"targetClusterProfile": {"kind": "Cluster", "name": "x"}}, "spec.targetClusterProfile"),
        ({"targetClusterProfile": {"name": "x", "namespace": "other"}}, "spec.targetClusterProfile.namespace"),
        ({"serviceAccountName": ""}, "spec.serviceAccountName"),
        ({"serviceAccountNamespace": "No Name"}, "spec.serviceAccountNamespace"),
        ({"expirationSeconds": 60}, "spec.expirationSeconds"),
        ({"rotateAtFraction": 1.0}, "spec.rotateAtFraction"),
        ({"roles": [{"name": "r"}]}, "spec.roles[0].namespace"),
        ({"clusterRoles": [{}]}, "spec.clusterRoles[0].name"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_spec(request(**spec))
    assert caught.value.field == field
