from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora_hub.store.record_ids import RecordIds, check_record_id


@given(st.lists(st.floats(min_value=0, max_value=4e9)))
def test_ids_strictly_rise_whatever_the_clock_does(times: list[float]) -> None:
    ids = RecordIds()
    given_out = [ids.next(time) for time in times]
    assert given_out == sorted(set(given_out))


def test_an_id_tells_its_time_in_microseconds() -> None:
    assert RecordIds().next(1.5) == f"{1_500_000:014x}-0000"


def test_a_clock_that_stands_still_does_not_run_out_of_ids() -> None:
    ids = RecordIds()
    given_out = [ids.next(1.0) for _ in range(70_000)]
    assert given_out == sorted(set(given_out))


def test_ids_go_on_above_the_newest_that_is_stored() -> None:
    newest = RecordIds().next(100.0)
    assert newest < RecordIds(after=newest).next(99.0) < RecordIds(after=newest).next(101.0)


@given(st.floats(min_value=0, max_value=4e9))
def test_every_id_is_one(time: float) -> None:
    made = RecordIds().next(time)
    assert check_record_id(made) == made


@pytest.mark.parametrize("text", ["", "1", "0" * 14, f"{1:014x}-0000\n", f"{1:014X}-00G0", "0" * 14 + "-00000"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_record_id(text)
