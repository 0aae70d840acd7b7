"""Grants in one member: what is made, found, refused, repaired, shared, and taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.errors import ArboraError, Conflict, Exhausted, NotFound, PermissionDenied
from arbora.manifests.objects import ObjectRef
from arbora_agent.cluster.rights import (
    CLUSTER_ROLE_BINDING,
    GRANT_LEDGER,
    LABEL_GRANT,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
)
from arbora_agent.grants import ledger
from arbora_agent.grants.model import ACCOUNT, CLUSTER_ROLE, STEPS, AskedRole, Rule
from arbora_agent.grants.model import ROLE as ROLE_STEP
from arbora_agent.grants.model import ROLE_BINDING as BINDING_STEP
from tests.unit.grants.member import (
    EVERYTHING,
    JOBS,
    MADE,
    MADE_EVERYWHERE,
    PODS,
    READER,
    VIEWER,
    Member,
    body_of,
    grant,
)

RUNNER = ObjectRef(SERVICE_ACCOUNT, "team", "runner")
BINDING = ObjectRef(ROLE_BINDING, "team", "arbora.ci.reader")


async def test_a_grant_makes_what_is_missing_and_binds_exactly_what_was_asked() -> None:
    member = Member()
    before = member.objects(ours=False)
    steps = await member.granter.grant(grant("ci", *EVERYTHING))
    assert member.objects(ours=True) == {
        "ServiceAccount team/runner",
        "Role team/made",
        "ClusterRole made",
        "RoleBinding team/arbora.ci.reader",
        "RoleBinding team/arbora.ci.made",
        "ClusterRoleBinding arbora.ci.viewer",
        "ClusterRoleBinding arbora.ci.made",
    }
    assert member.objects(ours=False) == before
    binding = member.simulation.read(BINDING)
    assert binding is not None
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "runner", "namespace": "team"}]
    assert binding["metadata"]["labels"] == {LABEL_GRANT: "ci"}
    made = member.simulation.read(ObjectRef(ROLE, "team", "made"))
    assert made is not None
    assert made["rules"] == [body_of(PODS)]
    assert [step.type for step in steps] == list(STEPS)
    assert [step.reason for step in steps] == ["Created"] * 5
    assert steps[1].message == "Role team/reader found; Role team/made created"


async def test_all_steps_are_told_also_those_for_which_nothing_was_asked() -> None:
    member = Member()
    steps = await member.granter.grant(grant("ci", account="theirs"))
    assert [step.reason for step in steps] == ["Found", *["NothingAsked"] * 4]


async def test_a_namespace_is_made_for_the_account_and_never_deleted() -> None:
    member = Member()
    steps = await member.granter.grant(grant("ci", READER, namespace="new"))
    assert steps[0].message == "Namespace new created; ServiceAccount new/runner created"
    assert (await member.ledger()).made_for("ci") == (
        "RoleBinding team/arbora.ci.reader",
        "ServiceAccount new/runner",
    )
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == {"Namespace new"}


async def test_a_repeat_changes_nothing() -> None:
    member = Member()
    await member.granter.grant(grant("ci", *EVERYTHING))
    page, calls = await member.rights.ledger(), member.rights.calls
    steps = await member.granter.grant(grant("ci", *EVERYTHING))
    assert [step.reason for step in steps] == ["Found"] * 5
    assert member.rights.calls == calls
    assert await member.rights.ledger() == page


async def test_a_repeat_repairs_what_somebody_deleted() -> None:
    member = Member()
    await member.granter.grant(grant("ci", *EVERYTHING))
    for ref in (RUNNER, BINDING, ObjectRef(ROLE, "team", "made")):
        member.simulation.remove(ref)
    steps = await member.granter.grant(grant("ci", *EVERYTHING))
    assert [step.reason for step in steps] == ["Created", "Created", "Found", "Created", "Found"]
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == set()


async def test_what_is_no_longer_asked_for_is_taken_away() -> None:
    member = Member()
    await member.granter.grant(grant("ci", *EVERYTHING))
    await member.granter.grant(grant("ci", READER))
    assert member.objects(ours=True) == {"ServiceAccount team/runner", "RoleBinding team/arbora.ci.reader"}
    kept = (await member.ledger()).entries["ci"].grant
    assert (kept.roles, kept.cluster_roles) == ((READER,), ())


async def test_a_revoked_grant_leaves_nothing_and_what_was_there_stays() -> None:
    member = Member()
    before = member.objects(ours=False)
    await member.granter.grant(grant("ci", *EVERYTHING, account="theirs"))
    left = await member.granter.revoke("ci", "access/ana")
    assert not left.entries
    assert member.objects(ours=True) == set()
    assert member.objects(ours=False) == before
    assert not (await member.rights.ledger()).data


async def test_revoking_what_is_not_there_is_fine() -> None:
    member = Member()
    assert not (await member.granter.revoke("ghost", "")).entries
    await member.granter.grant(grant("ci", READER))
    assert set((await member.granter.revoke("ghost", "")).entries) == {"ci"}


async def test_shared_objects_go_with_the_last_grant_that_uses_them() -> None:
    member = Member()
    await member.granter.grant(grant("one", MADE))
    await member.granter.grant(grant("two", MADE, MADE_EVERYWHERE))
    assert (await member.ledger()).made_for("one") == ("RoleBinding team/arbora.one.made",)
    await member.granter.revoke("one", "")
    assert {"ServiceAccount team/runner", "Role team/made"} <= member.objects(ours=True)
    assert "ServiceAccount team/runner" in (await member.ledger()).made_for("two")
    await member.granter.revoke("two", "")
    assert member.objects(ours=True) == set()


async def test_an_object_that_one_grant_had_to_make_again_still_goes_with_the_other() -> None:
    member = Member()
    await member.granter.grant(grant("one", MADE))
    await member.granter.grant(grant("two", MADE))
    member.simulation.remove(RUNNER)
    await member.granter.grant(grant("two", MADE))
    await member.granter.revoke("two", "")
    await member.granter.revoke("one", "")
    assert member.objects(ours=True) == set()


async def test_what_somebody_put_in_the_place_of_ours_is_theirs() -> None:
    member = Member()
    await member.granter.grant(grant("ci", MADE))
    member.simulation.remove(RUNNER)
    theirs = member.add(SERVICE_ACCOUNT, "team", "runner")
    await member.granter.grant(grant("ci", MADE))
    await member.granter.revoke("ci", "")
    assert member.uid(RUNNER) == theirs


async def test_also_when_it_was_put_there_after_the_last_look() -> None:
    member = Member()
    await member.granter.grant(grant("ci", MADE))
    member.simulation.remove(RUNNER)
    theirs = member.add(SERVICE_ACCOUNT, "team", "runner")
    await member.granter.revoke("ci", "")
    assert member.uid(RUNNER) == theirs


async def refused(member: Member, *asked: AskedRole, id: str = "ci", account: str = "runner") -> ArboraError:
    """The refusal of a grant, which must leave everything as it was."""
    before = (member.objects(ours=True), await member.rights.ledger())
    with pytest.raises(ArboraError) as refusal:
        await member.granter.grant(grant(id, *asked, account=account))
    assert (member.objects(ours=True), await member.rights.ledger()) == before
    return refusal.value


async def test_a_role_without_rules_must_be_there() -> None:
    member = Member()
    for role in (AskedRole("team", "made"), AskedRole("", "made")):
        error = await refused(member, READER, role)
        assert isinstance(error, NotFound)
        assert error.message == f"{role} does not exist in this member"
        assert error.field == role.step


async def test_a_role_with_other_rules_is_never_bound() -> None:
    member = Member()
    member.add(ROLE, "team", "made", rules=[body_of(PODS), body_of(JOBS)])
    error = await refused(member, MADE)
    assert isinstance(error, Conflict)
    assert (error.message, error.field) == ("Role team/made exists with other rules", ROLE_STEP)


async def test_a_role_with_the_same_rules_in_other_words_is_found() -> None:
    member = Member()
    split = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]} for verb in ("list", "get")]
    member.add(ROLE, "team", "made", rules=split)
    steps = await member.granter.grant(grant("ci", MADE))
    assert steps[1].reason == "Found"
    await member.granter.revoke("ci", "")
    assert member.uid(ObjectRef(ROLE, "team", "made"))


async def test_a_binding_of_that_name_that_is_not_ours_is_an_error() -> None:
    member = Member()
    await member.granter.grant(grant("other", READER))
    stolen = dict(member.simulation.read(ObjectRef(ROLE_BINDING, "team", "arbora.other.reader")) or {})
    for label in ({}, {LABEL_GRANT: "other"}):
        metadata = {"name": "arbora.ci.reader", "namespace": "team", "labels": label}
        member.simulation.create({**stolen, "metadata": metadata})
        error = await refused(member, READER)
        assert error.message == "RoleBinding team/arbora.ci.reader exists and does not belong to the grant ci"
        assert error.field == BINDING_STEP


async def test_a_binding_that_says_otherwise_is_an_error() -> None:
    member = Member()
    await member.granter.grant(grant("ci", READER))
    for change in (
        {"subjects": [{"kind": "User", "name": "mallory"}]},
        {"roleRef": {"kind": "ClusterRole", "name": "reader"}},
    ):
        member.simulation.change(BINDING, change)
        assert "binds something else" in (await refused(member, READER)).message
    await member.granter.revoke("ci", "")
    assert not member.uid(BINDING)


async def test_an_id_belongs_to_one_account() -> None:
    member = Member()
    await member.granter.grant(grant("ci", READER))
    error = await refused(member, READER, account="theirs")
    assert (error.message, error.field) == ("the grant ci is one for team/runner", ACCOUNT)


async def test_beyond_the_allow_list_nothing_is_even_looked_at() -> None:
    member = Member()
    error = await refused(member, READER, AskedRole("", "made", (Rule(("*",), ("*",), ("*",)),)))
    assert isinstance(error, PermissionDenied)
    assert error.field == CLUSTER_ROLE


async def test_a_lost_ledger_is_found_again_for_bindings_and_leaves_the_rest_alone() -> None:
    member = Member()
    await member.granter.grant(grant("ci", MADE))
    await member.rights.write(await member.rights.ledger(), {"ci": None})
    await member.granter.grant(grant("ci", MADE))
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == {"ServiceAccount team/runner", "Role team/made"}


async def test_a_damaged_ledger_stops_everything_and_is_named() -> None:
    member = Member()
    await member.granter.grant(grant("ci", READER))
    for damage in ("{", "[]", '{"namespace": 1}', "null", '"x"'):
        await member.rights.write(await member.rights.ledger(), {"bad": damage})
        with pytest.raises(Conflict, match=rf"the entry bad of the ConfigMap {GRANT_LEDGER}"):
            await member.granter.revoke("ci", "")
    await member.rights.write(await member.rights.ledger(), {"bad": None})
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == set()


async def test_a_member_keeps_so_many_grants_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_GRANTS", 2)
    member = Member()
    for id in ("a", "b"):
        await member.granter.grant(grant(id, READER))
    assert isinstance(await refused(member, READER, id="c"), Exhausted)
    await member.granter.grant(grant("a", READER, VIEWER))
    await member.granter.revoke("b", "")
    await member.granter.grant(grant("c", READER))


async def test_a_ledger_has_room_for_the_uids_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member()
    await member.granter.grant(grant("a", *EVERYTHING))
    (text,) = (await member.rights.ledger()).data.values()
    await member.granter.revoke("a", "")
    monkeypatch.setattr(ledger, "MAX_BYTES", len(text) - 1)
    assert isinstance(await refused(member, *EVERYTHING, id="a"), Exhausted)


async def test_names_are_not_ambiguous() -> None:
    member = Member()
    dotted = replace(MADE, name="b.made")
    await member.granter.grant(grant("a", dotted))
    await member.granter.grant(grant("a-b", MADE))
    bindings = {each for each in member.objects(ours=True) if "Binding" in each}
    assert bindings == {"RoleBinding team/arbora.a.b.made", "RoleBinding team/arbora.a-b.made"}
    assert not member.uid(ObjectRef(CLUSTER_ROLE_BINDING, "", "arbora.a.b.made"))
