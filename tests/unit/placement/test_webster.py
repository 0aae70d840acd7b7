"""Webster's method: golden vectors, caps, house monotonicity, and the same seats as one-by-one counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.placement.webster import webster


@pytest.mark.parametrize(
    ("seats", "votes", "expected"),
    [
        (9, [1, 3], [2, 7]),
        (10, [8, 5], [6, 4]),
        (10, [50, 30, 15, 5], [5, 3, 1, 1]),
        (5, [97, 1, 1, 1], [5, 0, 0, 0]),
        (12, [18, 12, 6], [6, 4, 2]),
        (5, [2, 10, 3], [1, 3, 1]),
        (4, [1, 3, 3], [1, 2, 1]),
    ],
)
def test_golden_vectors(seats: int, votes: list[int], expected: list[int]) -> None:
    assert webster(votes, seats).tolist() == expected


def test_ties_go_to_fewer_seats_then_to_the_smaller_tie_number() -> None:
    assert webster([3, 1], 2).tolist() == [1, 1]  # 3/3 and 1/1 are equal
    assert webster([5, 5, 5], 1, ties=[2, 0, 1]).tolist() == [0, 1, 0]


def test_a_party_at_its_cap_gives_its_seats_to_the_others() -> None:
    assert webster([1, 3], 9, caps=[9, 4]).tolist() == [5, 4]


def test_without_room_fewer_seats_are_given() -> None:
    assert webster([1, 1], 10, caps=[2, 3]).tolist() == [2, 3]


def test_parties_without_votes_get_nothing() -> None:
    assert webster([0, 1], 5).tolist() == [0, 5]


def test_seats_held_already_count() -> None:
    assert webster([1, 1], 4, held=[4, 0]).tolist() == [0, 4]


parties = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 120), st.integers(0, 9)), min_size=1, max_size=8)


def one_by_one(votes: list[int], seats: int, caps: list[int], held: list[int]) -> list[int]:
    added = [0] * len(votes)
    for _ in range(seats):
        open_ = [i for i, vote in enumerate(votes) if vote and added[i] < caps[i]]
        if not open_:
            break
        best = min(open_, key=lambda i: (-votes[i] / (2 * (held[i] + added[i]) + 1), held[i] + added[i], i))
        added[best] += 1
    return added


@given(parties, st.integers(0, 400))
def test_the_quick_way_gives_the_same_seats_as_one_by_one(each: list[tuple[int, int, int]], seats: int) -> None:
    votes, caps, held = (list(column) for column in zip(*each, strict=True))
    assert webster(votes, seats, caps=caps, held=held).tolist() == one_by_one(votes, seats, caps, held)


@given(parties, st.integers(0, 300))
def test_one_seat_more_takes_none_away(each: list[tuple[int, int, int]], seats: int) -> None:
    votes, caps, held = (list(column) for column in zip(*each, strict=True))
    fewer = webster(votes, seats, caps=caps, held=held)
    more = webster(votes, seats + 1, caps=caps, held=held)
    assert (more >= fewer).all()


@given(st.lists(st.integers(1, 200), min_size=1, max_size=9), st.integers(0, 500))
def test_votes_that_are_capacities_are_never_exceeded(capacities: list[int], seats: int) -> None:
    seats = min(seats, sum(capacities))
    given_ = webster(capacities, seats)
    assert all(got <= cap for got, cap in zip(given_.tolist(), capacities, strict=True))
    assert int(given_.sum()) == seats
