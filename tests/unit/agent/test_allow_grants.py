"""The member's own list decides which roles come with a token; every refusal says what would allow it."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput, PermissionDenied
from arbora_agent.allow_grants import GrantPolicy
from arbora_agent.grants.model import CLUSTER_ROLE, ROLE, AskedRole, Grant, Rule

PODS = Rule(("",), ("pods",), ("get", "list"))
SECRETS = Rule(("",), ("secrets",), ("get",))


def asking(*asked: AskedRole) -> Grant:
    roles = tuple(role for role in asked if role.namespace)
    return Grant("g", "team", "runner", roles, tuple(role for role in asked if not role.namespace))


def test_nothing_is_allowed_by_default_and_each_refusal_names_its_option() -> None:
    nothing = GrantPolicy.parse((), (), "")
    nothing.check(asking(), None)
    for role, step, option in (
        (AskedRole("team", "reader"), ROLE, "--allow-role team/reader"),
        (AskedRole("", "cluster-admin"), CLUSTER_ROLE, "--allow-cluster-role cluster-admin"),
        (AskedRole("team", "reader", (PODS,)), ROLE, "--allow-rules-of CLUSTERROLE"),
        (AskedRole("", "reader", (PODS,)), CLUSTER_ROLE, "--allow-rules-of CLUSTERROLE"),
    ):
        with pytest.raises(PermissionDenied) as refusal:
            nothing.check(asking(role), None)
        assert option in refusal.value.message
        assert str(role) in refusal.value.message
        assert refusal.value.field == step


def test_only_roles_that_are_named_may_be_bound() -> None:
    policy = GrantPolicy.parse(("team/reader",), ("viewer",), "")
    policy.check(asking(AskedRole("team", "reader"), AskedRole("", "viewer")), None)
    for other in (AskedRole("team2", "reader"), AskedRole("team", "viewer"), AskedRole("", "reader")):
        with pytest.raises(PermissionDenied):
            policy.check(asking(AskedRole("team", "reader"), other), None)


def test_rules_may_be_asked_for_up_to_those_of_one_cluster_role() -> None:
    policy = GrantPolicy.parse((), (), "edit")
    grant = asking(AskedRole("team", "reader", (PODS,)), AskedRole("", "reader", (PODS,)))
    assert policy.wants_ceiling(grant)
    policy.check(grant, (PODS,))
    with pytest.raises(PermissionDenied, match=r"would allow: get secrets; .*edit; --allow-rules-of"):
        policy.check(asking(AskedRole("team", "reader", (PODS, SECRETS))), (PODS,))
    with pytest.raises(PermissionDenied, match=r"ClusterRole edit.* does not exist"):
        policy.check(grant, None)


def test_a_ceiling_does_not_let_existing_roles_be_bound() -> None:
    policy = GrantPolicy.parse((), (), "cluster-admin")
    assert not policy.wants_ceiling(asking(AskedRole("", "cluster-admin")))
    with pytest.raises(PermissionDenied, match="--allow-cluster-role cluster-admin"):
        policy.check(asking(AskedRole("", "cluster-admin")), (Rule(("*",), ("*",), ("*",)),))


@pytest.mark.parametrize(
    ("roles", "cluster_roles", "rules_of", "field"),
    [
        (("reader",), (), "", "allow_roles"),
        (("team/",), (), "", "allow_roles"),
        (("team/*",), (), "", "allow_roles"),
        (("*/reader",), (), "", "allow_roles"),
        (("team/a/b",), (), "", "allow_roles"),
        ((), ("*",), "", "allow_cluster_roles"),
        ((), ("",), "", "allow_cluster_roles"),
        ((), (), "a b", "allow_rules_of"),
    ],
)
def test_an_entry_that_is_no_role_is_refused_at_start(
    roles: tuple[str, ...], cluster_roles: tuple[str, ...], rules_of: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        GrantPolicy.parse(roles, cluster_roles, rules_of)
    assert refusal.value.field == field
