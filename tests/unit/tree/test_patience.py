"""How long to wait for another hub: less than whoever waits for us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.tree.patience import seconds_left


def test_without_a_caller_above_the_own_limit_holds() -> None:
    assert seconds_left(10.0, None, 5.0) == 10.0


def test_a_tenth_is_kept_for_the_own_answer() -> None:
    assert seconds_left(10.0, 15.0, 10.0) == pytest.approx(4.5)


@given(st.floats(0, 100), st.floats(-100, 100), st.floats(-100, 100))
def test_it_is_never_negative_and_never_more_than_either_limit(most: float, end: float, now: float) -> None:
    left = seconds_left(most, end, now)
    assert 0.0 <= left <= most
    assert left <= max(0.0, end - now)
