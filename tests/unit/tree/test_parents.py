"""Which parent a hub holds on to, and which comes next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora.v1 import enrollment_pb2 as pb
from arbora_hub.tree.parents import (
    MAX_PARENTS,
    STAYS,
    Parent,
    Parents,
    Place,
    from_json,
    next_parent,
    to_json,
)

A, B, C = (Parent(name, f"{name}:7444") for name in ("a", "b", "c"))
ALL = Parents().replaced_by(A).joined(B).joined(C)


def asked(
    parents: Parents, away: float = 61.0, silent: set[str] | None = None, refusal: int = 0
) -> Parent | None:
    return next_parent(parents, away=away, standby_after=60.0, silent=silent or set(), refusal=refusal)


def test_a_hub_that_never_joined_is_a_root() -> None:
    assert Parents().current() is None
    assert asked(Parents()) is None


def test_the_first_parent_leaves_nothing_behind() -> None:
    joined = Parents().replaced_by(A)
    assert (joined.current(), joined.placement_epoch, joined.leaving) == (A, 1, False)


def test_a_new_parent_takes_the_place_of_the_one_before_whose_work_is_to_be_withdrawn() -> None:
    moved = Parents().replaced_by(A).joined(B).replaced_by(C)
    assert moved.known == (C, B)
    assert (moved.current(), moved.placement_epoch, moved.leaving) == (C, 2, True)
    assert moved.left().leaving is False


def test_what_is_not_withdrawn_yet_stays_so_over_a_second_move() -> None:
    assert Parents().replaced_by(A).replaced_by(B).detached().leaving
    assert Parents().replaced_by(A).detached().replaced_by(B).leaving


def test_a_standby_that_is_wanted_changes_places_and_all_stay_known() -> None:
    moved = ALL.replaced_by(C)
    assert (moved.current(), moved.known) == (C, (A, B, C))


def test_a_new_identity_at_the_same_parent_changes_nothing_else() -> None:
    again = Parent("a2", A.address)
    rejoined = ALL.rejoined(again)
    assert (rejoined.current(), rejoined.known) == (again, (again, B, C))
    assert (rejoined.placement_epoch, rejoined.leaving) == (ALL.placement_epoch, False)


def test_a_hub_that_is_detached_forgets_all_parents_and_its_place() -> None:
    detached = ALL.detached()
    assert (detached.known, detached.current(), detached.place) == ((), None, Place())
    assert detached.placement_epoch == ALL.placement_epoch + 1


def test_tokens_that_were_used_are_remembered_even_of_parents_that_were_left() -> None:
    assert ALL.detached().used_tokens == ("a", "b", "c")


def test_there_is_a_limit_to_parents() -> None:
    many = ALL
    for index in range(MAX_PARENTS - len(ALL.known)):
        many = many.joined(Parent(f"x{index}", f"x{index}:1"))
    with pytest.raises(InvalidInput):
        many.joined(Parent("onemore", "y:1"))


def test_a_standby_joined_again_at_its_address_takes_its_own_place() -> None:
    assert ALL.joined(Parent("b2", B.address)).known == (A, C, Parent("b2", B.address))


def test_nobody_is_asked_before_the_parent_was_silent_for_long_enough() -> None:
    assert asked(ALL, away=59.9) is None
    assert asked(ALL, away=60.0) == B


def test_standbys_are_asked_in_order_and_from_the_present_one_on() -> None:
    assert asked(ALL, silent={"b"}) == C
    assert asked(ALL, silent={"b", "c"}) is None
    assert asked(ALL.moved_to("b")) == C
    assert asked(ALL.moved_to("b"), silent={"c"}) == A


def test_a_hub_never_falls_back_by_itself_while_its_parent_is_there() -> None:
    assert asked(ALL.moved_to("c"), away=0.0) is None


@pytest.mark.parametrize("refusal", sorted(pb.Refusal.values()))
def test_what_an_operator_or_the_tree_refuses_is_not_evaded(refusal: int) -> None:
    assert (asked(ALL, refusal=refusal) is None) == (refusal in STAYS)


changes = st.lists(
    st.tuples(
        st.sampled_from(("replaced_by", "joined", "moved_to", "detached", "left", "rejoined")),
        st.sampled_from((A, B, C)),
    ),
    max_size=12,
)


@given(changes)
def test_the_epoch_never_falls_and_what_is_kept_is_read_as_it_was(steps: list[tuple[str, Parent]]) -> None:
    parents = Parents()
    for name, parent in steps:
        before = parents
        if name in ("detached", "left"):
            parents = getattr(parents, name)()
        elif name == "moved_to":
            parents = parents.moved_to(parent.slot) if parents.of_slot(parent.slot) else parents
        elif name != "joined" or parents.current() is not None:
            parents = getattr(parents, name)(parent)
        assert parents.placement_epoch >= before.placement_epoch
        assert parents.present == "" or parents.current() is not None
        assert len({one.slot for one in parents.known}) == len(parents.known)
        assert from_json(to_json(parents)) == parents


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        to_json(ALL).replace('"a"', '"../../etc"'),
        to_json(ALL).replace('"present": "a"', '"present": "z"'),
    ],
)
def test_a_file_that_was_tampered_with_is_not_believed(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_json(text)
    assert "join again" in caught.value.hint
