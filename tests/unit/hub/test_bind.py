"""From a choice of members to what has to be said to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.workloads.bind import Binding, Part, bind

NAMES = st.sampled_from(["a", "b", "c", "d"])
PARTS = st.builds(Part, st.integers(1, 3), st.integers(0, 3), st.booleans())


def test_a_chosen_member_without_a_part_gets_one() -> None:
    assert bind({"a": 1}, 1, {}, deleting=False) == Binding(("a",), ())


def test_a_member_on_the_present_generation_is_left_in_peace() -> None:
    assert not bind({"a": 1}, 3, {"a": Part(3)}, deleting=False)


def test_a_new_generation_goes_to_everybody_who_has_the_old_one() -> None:
    told = {"a": Part(1), "b": Part(2)}
    assert bind({"a": 1, "b": 1}, 2, told, deleting=False) == Binding(("a",), ())


def test_another_share_of_the_same_generation_is_said_too() -> None:
    assert bind({"a": 3}, 1, {"a": Part(1, 2)}, deleting=False) == Binding(("a",), ())


def test_a_member_that_is_no_longer_chosen_gives_the_workload_up_once() -> None:
    told = {"a": Part(1), "b": Part(1, withdrawn=True)}
    assert bind({}, 1, told, deleting=False) == Binding((), ("a",))


def test_a_member_that_is_chosen_again_while_it_deletes_gets_it_again() -> None:
    assert bind({"a": 1}, 1, {"a": Part(1, withdrawn=True)}, deleting=False) == Binding(("a",), ())


def test_deleting_withdraws_from_all_whatever_is_chosen() -> None:
    assert bind({"a": 1, "b": 1}, 1, {"a": Part(1)}, deleting=True) == Binding((), ("a",))


@given(st.dictionaries(NAMES, st.integers(0, 3)), st.integers(1, 3), st.dictionaries(NAMES, PARTS), st.booleans())
def test_doing_what_is_said_leaves_nothing_to_say(
    chosen: dict[str, int], generation: int, bound: dict[str, Part], deleting: bool
) -> None:
    said = bind(chosen, generation, bound, deleting=deleting)
    after = dict(bound)
    after.update({name: Part(generation, chosen[name]) for name in said.assign})
    after.update({name: Part(bound[name].generation, bound[name].replicas, True) for name in said.withdraw})
    assert not bind(chosen, generation, after, deleting=deleting)
