"""What an Inbox promises, one rule at a time."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput
from arbora.mirror.inbox import Applied, Inbox
from arbora.mirror.records import Batch, Cursor, Record


def batch(after: int, upto: int, *records: Record, epoch: int = 7, snapshot: str = "") -> Batch:
    """snapshot: "" for none, "part" or "end"."""
    return Batch(epoch, after, upto, records, bool(snapshot), snapshot == "end")


def holding(**items: bytes) -> Inbox:
    """An inbox that was saved at version 10 of epoch 7."""
    return Inbox(items, Cursor(7, 10))


def gap(applied: Applied) -> bool:
    assert not (applied.gap and (applied.changed or applied.removed))
    return applied.gap


def test_a_batch_changes_and_removes_what_it_names() -> None:
    inbox = holding(a=b"1", b=b"1")
    applied = inbox.apply(batch(10, 13, Record("a", 11, b"2"), Record("c", 12, b""), Record("b", 13, None)))
    assert applied == Applied(("a", "c"), ("b",), Cursor(7, 13))
    assert dict(inbox.items) == {"a": b"2", "c": b""}
    assert inbox.get("b") is None
    assert inbox.cursor == Cursor(7, 13)


def test_a_repeat_changes_nothing_and_is_acked_again() -> None:
    inbox = holding()
    first = batch(10, 11, Record("a", 11, b"1"))
    second = batch(11, 12, Record("a", 12, b"2"))
    inbox.apply(first)
    inbox.apply(second)
    assert inbox.apply(first) == Applied((), (), Cursor(7, 12))
    assert inbox.get("a") == b"2"


def test_a_batch_that_overlaps_brings_only_what_is_new() -> None:
    inbox = holding(a=b"2")
    applied = inbox.apply(batch(8, 12, Record("a", 9, b"1"), Record("b", 12, b"1")))
    assert applied == Applied(("b",), (), Cursor(7, 12))
    assert inbox.get("a") == b"2"


def test_the_same_bytes_under_a_new_version_are_no_change() -> None:
    inbox = holding(a=b"1")
    assert inbox.apply(batch(10, 11, Record("a", 11, b"1"))) == Applied((), (), Cursor(7, 11))


def test_the_deletion_of_an_unknown_key_is_no_change() -> None:
    assert holding().apply(batch(10, 11, Record("a", 11, None))) == Applied((), (), Cursor(7, 11))


def test_a_lost_batch_is_a_gap_and_changes_nothing() -> None:
    inbox = holding(a=b"1")
    assert gap(inbox.apply(batch(11, 12, Record("a", 12, b"2"))))
    assert inbox.get("a") == b"1"
    assert inbox.cursor == Cursor(7, 10)


def test_another_epoch_without_a_snapshot_is_a_gap() -> None:
    assert gap(holding().apply(batch(10, 11, Record("a", 11, b"1"), epoch=8)))
    assert gap(Inbox().apply(batch(0, 1, Record("a", 1, b"1"))))


def test_a_snapshot_applies_as_it_comes_and_removes_at_its_end_what_it_did_not_name() -> None:
    inbox = holding(a=b"1", b=b"1", c=b"1")
    first = inbox.apply(batch(0, 1, Record("a", 1, b"1"), epoch=8, snapshot="part"))
    assert first == Applied((), (), Cursor(8, 1))
    assert len(inbox.items) == 3
    last = inbox.apply(batch(1, 2, Record("d", 2, b"1"), epoch=8, snapshot="end"))
    assert last == Applied(("d",), ("b", "c"), Cursor(8, 2))
    assert dict(inbox.items) == {"a": b"1", "d": b"1"}


def test_the_cursor_moves_to_a_new_epoch_only_at_the_end_of_the_snapshot() -> None:
    inbox = holding()
    inbox.apply(batch(0, 1, Record("a", 1, b"1"), epoch=8, snapshot="part"))
    assert inbox.cursor == Cursor(7, 10)
    inbox.apply(batch(1, 2, Record("b", 2, b"1"), epoch=8, snapshot="end"))
    assert inbox.cursor == Cursor(8, 2)


def test_the_cursor_waits_for_the_end_of_a_snapshot_in_the_same_epoch_too() -> None:
    inbox = holding(gone=b"1")
    inbox.apply(batch(0, 12, Record("a", 12, b"1"), snapshot="part"))
    assert inbox.cursor == Cursor(7, 10)
    assert inbox.apply(batch(12, 13, Record("b", 13, b"1"), snapshot="end")).removed == ("gone",)
    assert inbox.cursor == Cursor(7, 13)


def test_the_snapshot_of_an_empty_map_removes_everything() -> None:
    inbox = holding(a=b"1")
    assert inbox.apply(batch(0, 0, epoch=8, snapshot="end")) == Applied((), ("a",), Cursor(8, 0))
    assert inbox.cursor == Cursor(8, 0)


def test_what_a_snapshot_named_before_a_cut_does_not_count_after_it() -> None:
    inbox = holding()
    inbox.apply(batch(0, 1, Record("a", 1, b"1"), epoch=8, snapshot="part"))
    inbox.cut()
    applied = inbox.apply(batch(0, 3, Record("b", 2, b"1"), epoch=8, snapshot="end"))
    assert applied.removed == ("a",)


def test_after_a_snapshot_that_was_cut_a_stream_can_go_on_from_the_cursor() -> None:
    inbox = holding(a=b"1")
    inbox.apply(batch(0, 9, Record("b", 9, b"1"), snapshot="part"))
    inbox.cut()
    assert inbox.apply(batch(10, 11, Record("c", 11, b"1"))) == Applied(("c",), (), Cursor(7, 11))
    assert dict(inbox.items) == {"a": b"1", "b": b"1", "c": b"1"}


def test_repeats_within_and_after_a_snapshot_change_nothing() -> None:
    inbox = holding(old=b"1")
    first = batch(0, 1, Record("a", 1, b"1"), epoch=8, snapshot="part")
    last = batch(1, 2, Record("b", 2, b"1"), epoch=8, snapshot="end")
    inbox.apply(first)
    assert inbox.apply(first) == Applied((), (), Cursor(8, 1))
    assert inbox.apply(last).removed == ("old",)
    for repeat in (first, last):
        assert inbox.apply(repeat) == Applied((), (), Cursor(8, 2))
    assert dict(inbox.items) == {"a": b"1", "b": b"1"}


def test_a_lost_start_or_end_of_a_snapshot_is_a_gap() -> None:
    assert gap(holding().apply(batch(1, 2, Record("b", 2, b"1"), epoch=8, snapshot="end")))
    assert gap(holding().apply(batch(5, 12, Record("b", 12, b"1"), snapshot="end")))
    inbox = holding()
    inbox.apply(batch(0, 1, Record("a", 1, b"1"), epoch=8, snapshot="part"))
    assert gap(inbox.apply(batch(2, 3, Record("c", 3, b"1"), epoch=8)))
    assert gap(inbox.apply(batch(1, 3, Record("c", 3, b"1"), epoch=8)))


def test_a_value_in_chunks_appears_with_its_last_chunk() -> None:
    inbox = holding(a=b"old")
    chunks = [
        batch(10, 12, Record("a", 15, b"12", more=True)),
        batch(12, 14, Record("a", 15, b"34", more=True)),
        batch(14, 15, Record("a", 15, b"5")),
    ]
    assert inbox.apply(chunks[0]) == Applied((), (), Cursor(7, 12))
    assert inbox.apply(chunks[0]) == Applied((), (), Cursor(7, 12))
    inbox.apply(chunks[1])
    assert inbox.get("a") == b"old"
    assert inbox.cursor == Cursor(7, 10)
    assert inbox.apply(chunks[2]) == Applied(("a",), (), Cursor(7, 15))
    assert inbox.get("a") == b"12345"
    assert inbox.cursor == Cursor(7, 15)


def test_a_lost_chunk_is_a_gap() -> None:
    chunks = [
        batch(10, 12, Record("a", 15, b"12", more=True)),
        batch(12, 14, Record("a", 15, b"34", more=True)),
        batch(14, 15, Record("a", 15, b"5")),
    ]
    for lost in (0, 1):
        inbox = holding()
        answers = [inbox.apply(chunk) for number, chunk in enumerate(chunks) if number != lost]
        assert gap(answers[-1])
        assert inbox.get("a") is None


def test_a_chunk_that_does_not_go_on_at_the_right_byte_is_a_gap() -> None:
    inbox = holding()
    inbox.apply(batch(10, 12, Record("a", 15, b"12", more=True)))
    assert gap(inbox.apply(batch(12, 15, Record("a", 15, b"5"))))
    assert gap(inbox.apply(batch(12, 14, Record("a", 15, b"34?", more=True))))


def test_a_value_that_changed_midway_is_replaced_by_the_new_one() -> None:
    inbox = holding(a=b"old")
    inbox.apply(batch(10, 12, Record("a", 15, b"12", more=True)))
    applied = inbox.apply(batch(12, 18, Record("a", 18, b"new")))
    assert applied == Applied(("a",), (), Cursor(7, 18))
    assert inbox.get("a") == b"new"


def test_chunks_of_a_stream_that_was_cut_are_forgotten() -> None:
    inbox = holding()
    inbox.apply(batch(10, 12, Record("a", 15, b"12", more=True)))
    inbox.cut()
    inbox.apply(batch(10, 12, Record("a", 15, b"12", more=True)))
    inbox.apply(batch(12, 15, Record("a", 15, b"345")))
    assert inbox.get("a") == b"12345"


def test_a_value_over_the_limit_is_refused_whole_or_in_chunks() -> None:
    inbox = Inbox({}, Cursor(7, 10), max_value_bytes=4)
    with pytest.raises(InvalidInput, match="a/1"):
        inbox.apply(batch(10, 15, Record("a/1", 15, b"12345")))
    inbox.apply(batch(10, 12, Record("a/1", 15, b"12", more=True)))
    with pytest.raises(InvalidInput, match="a/1"):
        inbox.apply(batch(12, 15, Record("a/1", 15, b"345")))
    assert dict(inbox.items) == {}


def test_a_discarded_value_is_gone_and_nobody_hears_of_it() -> None:
    inbox = holding(a=b"1")
    inbox.discard("a")
    inbox.discard("a")
    assert inbox.get("a") is None
    assert inbox.cursor == Cursor(7, 10)


def test_the_items_are_read_only() -> None:
    with pytest.raises(TypeError):
        holding(a=b"1").items["a"] = b"2"  # type: ignore[index]


def test_a_record_never_shows_its_value() -> None:
    assert "s3cret" not in repr(batch(0, 1, Record("token/1", 1, b"s3cret")))
