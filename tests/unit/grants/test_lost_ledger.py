"""Revoking a grant that is not on the ledger, as somebody deleted that: its bindings go, the rest stays."""

from __future__ import annotations

import pytest

from arbora.manifests.objects import ObjectRef
from arbora_agent.cluster.rights import CLUSTER_ROLE_BINDING, LABEL_GRANT, ROLE_BINDING
from tests.unit.grants.member import EVERYTHING, MADE, READER, Crashed, Member, grant


async def lost(member: Member, id: str) -> None:
    await member.rights.write(await member.rights.ledger(), {id: None})


async def test_its_bindings_go_and_accounts_and_roles_stay(capsys: pytest.CaptureFixture[str]) -> None:
    member = Member()
    await member.granter.grant(grant("ci", *EVERYTHING))
    await lost(member, "ci")
    assert not (await member.granter.revoke("ci", "access/ana")).entries
    assert member.objects(ours=True) == {"ServiceAccount team/runner", "Role team/made", "ClusterRole made"}
    printed = capsys.readouterr().out
    assert "accounts and roles stay" in printed
    assert "access/ana" in printed


async def test_those_of_other_grants_stay() -> None:
    member = Member()
    for id in ("ci", "ci-2"):
        await member.granter.grant(grant(id, READER))
    await lost(member, "ci")
    assert set((await member.granter.revoke("ci", "")).entries) == {"ci-2"}
    bindings = {each for each in member.objects(ours=True) if "Binding" in each}
    assert bindings == {"RoleBinding team/arbora.ci-2.reader"}


async def test_a_binding_that_has_the_label_alone_is_not_ours() -> None:
    member = Member()
    theirs = [
        ObjectRef(ROLE_BINDING, "team", "theirs"),
        ObjectRef(ROLE_BINDING, "team", "arbora.ci-2.reader"),
        ObjectRef(CLUSTER_ROLE_BINDING, "", "arbora.ci"),
    ]
    for ref in theirs:
        member.add(ref.gvk, ref.namespace, ref.name)
        member.simulation.change(ref, {"metadata": {"labels": {LABEL_GRANT: "ci"}}})
    await member.granter.revoke("ci", "")
    assert all(map(member.uid, theirs))


async def test_a_revocation_that_was_cut_short_is_finished_by_another() -> None:
    member = Member()
    await member.granter.grant(grant("ci", READER, MADE))
    await lost(member, "ci")
    member.rights.at, member.rights.done = member.rights.calls + 2, False
    with pytest.raises(Crashed):
        await member.granter.revoke("ci", "")
    member.rights.at = 0
    await member.granter.revoke("ci", "")
    assert not any("Binding" in each for each in member.objects(ours=True))
