"""From a choice of members to what has to be said to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.workloads.bind import Binding, bind

NAMES = st.sampled_from(["a", "b", "c", "d"])


def test_a_chosen_member_without_a_part_gets_one() -> None:
    assert bind(["a"], 1, {}, deleting=False) == Binding(("a",), ())


def test_a_member_on_the_present_generation_is_left_in_peace() -> None:
    assert not bind(["a"], 3, {"a": (3, False)}, deleting=False)


def test_a_new_generation_goes_to_everybody_who_has_the_old_one() -> None:
    assert bind(["a", "b"], 2, {"a": (1, False), "b": (2, False)}, deleting=False) == Binding(("a",), ())


def test_a_member_that_is_no_longer_chosen_gives_the_workload_up_once() -> None:
    assert bind([], 1, {"a": (1, False), "b": (1, True)}, deleting=False) == Binding((), ("a",))


def test_a_member_that_is_chosen_again_while_it_deletes_gets_it_again() -> None:
    assert bind(["a"], 1, {"a": (1, True)}, deleting=False) == Binding(("a",), ())


def test_deleting_withdraws_from_all_whatever_is_chosen() -> None:
    assert bind(["a", "b"], 1, {"a": (1, False)}, deleting=True) == Binding((), ("a",))


@given(
    st.sets(NAMES),
    st.integers(1, 3),
    st.dictionaries(NAMES, st.tuples(st.integers(1, 3), st.booleans())),
    st.booleans(),
)
def test_doing_what_is_said_leaves_nothing_to_say(
    chosen: set[str], generation: int, bound: dict[str, tuple[int, bool]], deleting: bool
) -> None:
    said = bind(chosen, generation, bound, deleting=deleting)
    after = dict(bound)
    after.update({name: (generation, False) for name in said.assign})
    after.update({name: (bound[name][0], True) for name in said.withdraw})
    assert not bind(chosen, generation, after, deleting=deleting)
