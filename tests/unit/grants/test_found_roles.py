"""A role that was there is bound by its rules only if the member names it: its owner may widen it at any time."""

from __future__ import annotations

import pytest

from arbora.errors import Conflict
from arbora.manifests.objects import ObjectRef
from arbora_agent.cluster.rights import CLUSTER_ROLE, LABEL_GRANT, ROLE
from arbora_agent.grants.model import AskedRole
from tests.unit.grants.member import JOBS, MADE, MADE_EVERYWHERE, PODS, Crashed, Member, body_of, grant

UNNAMED = AskedRole("team", "unnamed", (PODS,))
UNNAMED_EVERYWHERE = AskedRole("", "unnamed", (JOBS,))
"""Below the ceiling, and not on the allow-list."""


async def refused(member: Member, asked: AskedRole) -> Conflict:
    before = member.objects(ours=True)
    with pytest.raises(Conflict) as refusal:
        await member.granter.grant(grant("ci", asked))
    assert member.objects(ours=True) == before
    assert refusal.value.field == asked.step
    return refusal.value


@pytest.mark.parametrize("labels", [{}, {LABEL_GRANT: "ci"}], ids=["plain", "with our label"])
@pytest.mark.parametrize(
    ("asked", "option"),
    [(UNNAMED, "--allow-role team/unnamed"), (UNNAMED_EVERYWHERE, "--allow-cluster-role unnamed")],
    ids=str,
)
async def test_a_role_of_somebody_else_with_the_same_rules_is_not_bound_unless_it_is_named(
    asked: AskedRole, option: str, labels: dict[str, str]
) -> None:
    member = Member()
    ref = ObjectRef(ROLE if asked.namespace else CLUSTER_ROLE, asked.namespace, asked.name)
    member.add(ref.gvk, ref.namespace, ref.name, rules=[body_of(rule) for rule in asked.rules])
    member.simulation.change(ref, {"metadata": {"labels": labels}})
    error = await refused(member, asked)
    assert error.message == f"{asked} exists and was not made for a grant, so its rules may change at any time"
    assert "another name" in error.hint
    assert "without rules" in error.hint
    assert option in error.hint


@pytest.mark.parametrize("asked", [MADE, MADE_EVERYWHERE], ids=str)
async def test_a_role_that_the_member_names_is_bound_as_it_is(asked: AskedRole) -> None:
    member = Member()
    gvk = ROLE if asked.namespace else CLUSTER_ROLE
    member.add(gvk, asked.namespace, asked.name, rules=[body_of(rule) for rule in asked.rules])
    steps = await member.granter.grant(grant("ci", asked))
    assert [step.reason for step in steps if step.type == asked.step] == ["Found"]


async def test_a_role_that_another_one_took_the_place_of_is_not_bound_again() -> None:
    member = Member()
    await member.granter.grant(grant("ci", UNNAMED))
    ref = ObjectRef(ROLE, "team", "unnamed")
    member.simulation.remove(ref)
    member.add(ROLE, "team", "unnamed", rules=[body_of(PODS)])
    await refused(member, UNNAMED)


@pytest.mark.parametrize("selectors", [{}, {"clusterRoleSelectors": [{}]}], ids=["of nothing", "of all"])
async def test_an_aggregated_cluster_role_is_one_with_other_rules(selectors: dict[str, object]) -> None:
    member = Member()
    rules = [body_of(rule) for rule in MADE_EVERYWHERE.rules]
    member.add(CLUSTER_ROLE, "", "made", rules=rules, aggregationRule=selectors)
    assert (await refused(member, MADE_EVERYWHERE)).message == "ClusterRole made exists with other rules"
    await member.granter.grant(grant("ci", AskedRole("", "made")))


async def test_roles_of_ours_are_found_repaired_and_shared_without_being_named() -> None:
    member = Member()
    for id in ("one", "two", "one"):
        await member.granter.grant(grant(id, UNNAMED, UNNAMED_EVERYWHERE))
    await member.granter.revoke("one", "")
    assert {"Role team/unnamed", "ClusterRole unnamed"} <= member.objects(ours=True)
    await member.granter.revoke("two", "")
    assert member.objects(ours=True) == set()


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("at", range(1, 8))
async def test_also_after_an_agent_that_ended_in_between(at: int, done: bool) -> None:
    member = Member()
    member.rights.at, member.rights.done = at, done
    with pytest.raises(Crashed):
        await member.granter.grant(grant("ci", UNNAMED, UNNAMED_EVERYWHERE))
    member.rights.at = 0
    await member.granter.grant(grant("ci", UNNAMED, UNNAMED_EVERYWHERE))
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == set()
