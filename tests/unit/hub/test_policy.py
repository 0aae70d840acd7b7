"""The message Placement becomes the policy that is decided by, or is refused with the field's path."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.selectors import Requirement, Selector
from arbora.v1 import workload_pb2 as pb
from arbora_hub.placement.policy import AffinityGroup, Claim, Spread, StaticWeight, Toleration
from arbora_hub.workloads.policy import read_policy

EU = Path.parse("/eu")


def read(**fields: Any) -> Any:
    return read_policy(json_format.ParseDict(fields, pb.Placement()), EU)


def refused(**fields: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        read(**fields)
    return error.value.field


def test_members_are_children_of_this_hub_by_name_or_by_path_and_each_counts_once() -> None:
    assert read(members=["paris", "/eu/paris", "/eu/rome"]).members == ("paris", "rome")
    assert refused(members=["paris", "/cn/paris"]) == "spec.placement.members[1]"
    assert read(members=["paris/edge", "/eu/rome/edge"]).members == ("paris", "rome"), "through those children"
    assert refused(members=["/eu"]) == "spec.placement.members[0]"


def test_an_empty_selector_means_every_member_and_none_at_all_is_refused() -> None:
    assert read(selector={}).selector == Selector()
    assert read(groups=[{"name": "x", "members": ["a"]}]).selector is None
    assert refused() == "spec.placement"
    assert refused(expression="true") == "spec.placement"


def test_what_is_left_out_has_its_default() -> None:
    policy = read(
        selector={},
        tolerations=[
            {"key": "x", "value": "y"},
            {"key": "z", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        ],
        spread=[{"label": "site"}],
        claims=[{"name": "residency-eu"}],
    )
    assert policy.tolerations == (
        Toleration("x", "Equal", "y", "", None),
        Toleration("z", "Exists", "", "NoExecute", 0.0),
    )
    assert policy.spread == (Spread("site", 1, 0, None, "DoNotSchedule"),)
    assert policy.claims == (Claim("residency-eu", 1.0, False),)
    assert (policy.clusters, policy.minimum, policy.mode, policy.priority) == (None, 0, "duplicate", 0)


def test_groups_divisions_and_weights_are_taken_over() -> None:
    policy = read(
        groups=[{"name": "own", "members": ["/eu/a"], "selector": {"matchLabels": {"tier": "gold"}}}],
        overflow=True,
        division={
            "mode": "weighted",
            "weights": [{"weight": 2, "member": "a"}, {"weight": 1}],
            "allOrNothing": True,
        },
        weights={"free": 0.5},
    )
    assert policy.groups == (AffinityGroup("own", ("a",), Selector({"tier": "gold"})),)
    assert policy.division is not None
    assert policy.division.weights == (StaticWeight(2, "a"), StaticWeight(1))
    assert (policy.overflow, policy.division.partial, dict(policy.weights)) == (True, False, {"free": 0.5})


def test_selectors_anywhere_are_read_strictly_with_their_path() -> None:
    rule = {"key": "rank", "operator": "Gt", "values": ["3"]}
    assert read(selector={"matchExpressions": [rule]}).selector == Selector(
        {}, (Requirement("rank", "Gt", ("3",)),)
    )
    wrong = {"matchExpressions": [rule, {"key": "rank", "operator": "Gt", "values": ["three"]}]}
    assert refused(selector=wrong) == "spec.placement.selector.matchExpressions[1]"
    assert refused(groups=[{"name": "x", "selector": wrong}]) == (
        "spec.placement.groups[0].selector.matchExpressions[1]"
    )
    weighted = {"mode": "weighted", "weights": [{"weight": 1}, {"weight": 1, "selector": wrong}]}
    assert refused(selector={}, division=weighted) == (
        "spec.placement.division.weights[1].selector.matchExpressions[1]"
    )
    assert refused(selector={"matchExpressions": [{"operator": "Exists"}]}) == (
        "spec.placement.selector.matchExpressions[0]"
    )
    assert refused(selector={"matchLabels": {"tier": "not a value!"}}).startswith(
        "spec.placement.selector.matchLabels"
    )
