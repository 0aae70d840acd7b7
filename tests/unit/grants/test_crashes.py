"""An agent that ends between any two writes leaves nothing that a repeat or a revocation does not find."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora_agent.cluster.rights import NAMESPACE
from tests.unit.grants.member import EVERYTHING, MADE, READER, Crashed, Member, grant

WRITES = 9
"""Of a grant with EVERYTHING: the ledger, seven objects, the ledger."""


async def crash(member: Member, at: int, done: bool, **asked: str) -> None:
    member.rights.at, member.rights.done = member.rights.calls + at, done
    with pytest.raises(Crashed):
        await member.granter.grant(grant("ci", *EVERYTHING, **asked))
    member.rights.at = 0


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
async def test_a_grant_that_was_cut_short_is_finished_by_a_repeat_and_taken_back_whole(
    at: int, done: bool
) -> None:
    whole, member = Member(), Member()
    await whole.granter.grant(grant("ci", *EVERYTHING))
    assert whole.rights.calls == WRITES
    before = member.objects(ours=False)
    await crash(member, at, done)
    await member.granter.grant(grant("ci", *EVERYTHING))
    assert member.objects(ours=True) == whole.objects(ours=True)
    assert (await member.ledger()).made_for("ci") == (await whole.ledger()).made_for("ci")
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == set()
    assert member.objects(ours=False) == before


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
async def test_a_grant_that_was_cut_short_is_taken_back_without_a_repeat(at: int, done: bool) -> None:
    member = Member()
    await crash(member, at, done)
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == set()


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("at", range(1, WRITES))
async def test_a_revocation_that_was_cut_short_is_finished_by_another(at: int, done: bool) -> None:
    member = Member()
    await member.granter.grant(grant("ci", *EVERYTHING))
    member.rights.at, member.rights.done = member.rights.calls + at, done
    with pytest.raises(Crashed):
        await member.granter.revoke("ci", "")
    member.rights.at = 0
    await member.granter.revoke("ci", "")
    assert member.objects(ours=True) == set()


async def test_what_somebody_made_after_a_crash_in_the_place_that_was_written_down_is_theirs() -> None:
    member = Member()
    await crash(member, 2, done=False)  # the ledger says that the account is about to be made
    theirs = member.simulation.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner", "namespace": "team"}}
    )
    await member.granter.revoke("ci", "")
    assert member.uid(theirs)


ROLES = st.lists(st.sampled_from(EVERYTHING), max_size=4, unique=True).map(tuple)
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(("a", "b", "c")),
        st.one_of(st.none(), ROLES),
        st.integers(0, 12),
        st.booleans(),
    ),
    max_size=12,
)


@given(DEEDS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
async def test_whatever_happens_no_object_is_left_or_lost(
    deeds: list[tuple[str, object, int, bool]], chance: object
) -> None:
    member = Member()
    before = member.objects(ours=False)
    for id, roles, at, done in deeds:
        member.rights.at, member.rights.done = (member.rights.calls + at if at else 0), done
        try:
            if roles is None:
                await member.granter.revoke(id, "")
            else:
                await member.granter.grant(grant(id, *roles))  # type: ignore[misc]
        except Crashed:
            continue
        ledger = await member.ledger()
        assert (id in ledger.entries) is (roles is not None)
        for entry in ledger.entries.values():
            if entry.grant.id == id:
                assert all(member.uid(ref) for ref in entry.objects)
    member.rights.at = 0
    assert before <= member.objects(ours=False)
    for id in ("c", "a", "b"):
        await member.granter.revoke(id, "")
    assert member.objects(ours=True) == set()
    assert member.objects(ours=False) == before


async def test_a_crash_while_two_grants_share_what_one_of_them_makes() -> None:
    member = Member()
    member.rights.at, member.rights.done = 2, True
    with pytest.raises(Crashed):
        await member.granter.grant(grant("one", MADE))  # the account is made, and nobody wrote its uid down
    member.rights.at = 0
    await member.granter.grant(grant("two", MADE, READER))
    await member.granter.revoke("one", "")
    assert "ServiceAccount team/runner" in member.objects(ours=True)
    await member.granter.revoke("two", "")
    assert member.objects(ours=True) == set()
    assert not [each for each in member.objects(ours=True) if each.startswith(NAMESPACE.kind)]
