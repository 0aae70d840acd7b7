"""A member never moves to another shard, whatever comes and goes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.kubernetes.multikueue.shards import assigned

MEMBERS = [f"/m{number}" for number in range(60)]
SETS = st.lists(st.sets(st.sampled_from(MEMBERS)), min_size=1, max_size=8)


@given(SETS, st.integers(1, 20))
def test_who_stays_keeps_its_shard_and_no_shard_is_overfull(history: list[set[str]], limit: int) -> None:
    before: dict[str, int] = {}
    for members in history:
        after = assigned(before, members, limit)
        assert after.keys() == members
        assert all(after[one] == before[one] for one in members & before.keys())
        assert all(count <= limit for count in Counter(after.values()).values())
        before = after


@given(st.sets(st.sampled_from(MEMBERS)), st.integers(1, 20))
def test_no_shard_is_begun_while_another_has_room(members: set[str], limit: int) -> None:
    sizes = Counter(assigned({}, members, limit).values())
    assert len(sizes) == -(-len(members) // limit)


@given(st.sets(st.sampled_from(MEMBERS)))
def test_the_same_members_are_assigned_the_same_way_and_again_changes_nothing(members: set[str]) -> None:
    first = assigned({}, members)
    assert first == assigned({}, sorted(members, reverse=True)) == assigned(first, members)


def test_a_newcomer_takes_the_place_that_another_left() -> None:
    full = assigned({}, MEMBERS[:40], 20)
    gone = MEMBERS[3]
    after = assigned(full, [*(one for one in MEMBERS[:40] if one != gone), "/new"], 20)
    assert after["/new"] == full[gone]
