"""Which ClusterProperty objects an agent reports."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbora_agent.cluster.kubernetes.properties import PropertySink
from arbora_agent.properties import MAX_BYTES, MAX_PROPERTIES, bounded, left_out_sentence


def test_values_are_word_for_word_and_in_the_order_of_names() -> None:
    assert bounded({"b": " 2\n", "a": "ü"}) == ((("a", "ü"), ("b", " 2\n")), ())


def test_one_that_is_too_large_is_named_and_does_not_keep_a_smaller_one_away() -> None:
    taken, left_out = bounded({"a": "x" * (MAX_BYTES + 1), "b": "small"})
    assert (taken, left_out) == ((("b", "small"),), ("a",))


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 20_000).map(lambda n: "é" * n), max_size=90)
)
def test_what_is_taken_is_within_its_bounds_and_nothing_is_cut(properties: dict[str, str]) -> None:
    taken, left_out = bounded(properties)
    assert len(taken) <= MAX_PROPERTIES
    assert sum(len(name.encode()) + len(value.encode()) for name, value in taken) <= MAX_BYTES
    assert all(properties[name] == value for name, value in taken)
    assert not {name for name, _ in taken} & set(left_out)
    assert len(taken) + len(left_out) == len(properties) or len(left_out) == 64


def test_the_event_names_some_of_them() -> None:
    sentence = left_out_sentence([f"p{number}" for number in range(10)])
    assert "p7 and 2 more" in sentence


def item(name: str, value: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"value": value}}


def test_a_watch_keeps_them_current_and_says_so_only_on_a_change() -> None:
    told: list[int] = []
    sink = PropertySink(lambda: told.append(1))
    sink.begin()
    sink.page([item("a", "1"), item("b", None)])
    sink.end("5")
    assert sink.bounded == ((("a", "1"), ("b", "")), ())
    sink.put(item("a", "1"))
    assert len(told) == 1
    sink.put(item("c", "x" * (MAX_BYTES + 9)))
    assert sink.bounded[1] == ("c",)
    sink.remove(item("c", ""))
    sink.remove(item("c", ""))
    assert (sink.bounded[1], len(told)) == ((), 3)
    sink.begin()
    sink.end("6")
    assert sink.bounded == ((), ())
