"""What is a workload and what isn't, with the field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.v1 import workload_pb2 as pb
from arbora_hub.workloads.labels import check_labels
from arbora_hub.workloads.policy import read_policy
from arbora_hub.workloads.spec import (
    MAX_MANIFESTS,
    read_objects,
    without_secrets,
)

ROOT = Path()


def manifest(name: str = "a", **rest: Any) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **rest}).encode()


def test_paths_and_names_of_children_are_the_same_thing() -> None:
    wish = read_policy(pb.Placement(members=["/paris", "paris", "oslo"]), ROOT)
    assert wish.members == ("paris", "oslo")


def test_a_member_further_down_is_named_through_the_child_it_is_below() -> None:
    assert read_policy(pb.Placement(members=["eu/paris", "/eu/oslo"]), ROOT).members == ("eu",)


@pytest.mark.parametrize(
    ("placement", "field"),
    [
        (pb.Placement(), "spec.placement"),
        (pb.Placement(members=["ok", "Not OK"]), "spec.placement.members[1]"),
        (
            pb.Placement(
                selector=pb.LabelSelector(match_expressions=[pb.LabelRequirement(key="a", operator="Sometimes")])
            ),
            "spec.placement.selector.matchExpressions[0]",
        ),
        (
            pb.Placement(selector=pb.LabelSelector(match_expressions=[pb.LabelRequirement(operator="Exists")])),
            "spec.placement.selector.matchExpressions[0]",
        ),
        (
            pb.Placement(selector=pb.LabelSelector(match_labels={"gpu": "not a value!"})),
            "spec.placement.selector.matchLabels.gpu",
        ),
    ],
)
def test_a_placement_that_means_nothing_is_refused_with_its_field(placement: pb.Placement, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_policy(placement, ROOT)
    assert caught.value.field == field


def test_equal_manifests_have_equal_bytes() -> None:
    one = read_objects([b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}'])
    other = read_objects([b'{ "apiVersion": "v1", "metadata": {"name": "a"}, "kind": "ConfigMap" }'])
    assert one == other


@pytest.mark.parametrize(
    ("manifests", "field"),
    [
        ([], "spec.manifests"),
        ([manifest()] * 1 + [b"{"], "spec.manifests[1]"),
        ([b"[]"], "spec.manifests[0]"),
        ([b'{"kind":"ConfigMap","metadata":{"name":"a"}}'], "spec.manifests[0].apiVersion"),
        ([b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{}}'], "spec.manifests[0].metadata.name"),
        ([b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":7}}'], "spec.manifests[0].metadata.name"),
        ([manifest(), manifest("b"), manifest()], "spec.manifests[2]"),
        ([manifest(str(number)) for number in range(MAX_MANIFESTS + 1)], "spec.manifests"),
        ([manifest(data={"big": "x" * 5_000_000})], "spec.manifests"),
    ],
)
def test_manifests_that_are_none_are_refused_with_their_field(manifests: list[bytes], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_objects(manifests)
    assert caught.value.field == field


@pytest.mark.parametrize("labels", [{"": "x"}, {"-a": "x"}, {"a": "b c"}, {"a": "x" * 64}, {"A B": "x"}])
def test_labels_are_those_of_kubernetes(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        check_labels(labels, "labels")
    assert check_labels({"gpu": "h100", "example.org/zone": ""}, "labels")


def test_a_viewer_sees_a_secrets_keys_and_not_its_values() -> None:
    copy = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"token":"aHVzaA=="}}'}}
    secret = {"kind": "Secret", "metadata": copy, "data": {"token": "aHVzaA=="}, "stringData": {"b": "hush"}}
    shown = without_secrets(json.dumps(secret).encode())
    assert b"aHVzaA" not in shown
    assert b"hush" not in shown
    assert b"token" in shown
    assert without_secrets(manifest(data={"a": "b"})) == manifest(data={"a": "b"})
