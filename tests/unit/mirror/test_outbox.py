"""What an Outbox promises while its stream lasts, one rule at a time."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput
from arbora.mirror.outbox import Outbox
from arbora.mirror.records import Cursor
from tests.unit.mirror.sending import BIG, connected, drain, sent


def test_a_value_that_did_not_change_is_not_sent_again() -> None:
    outbox = connected("a")
    assert not outbox.put("a", b"1")
    assert not outbox.pending
    assert outbox.next_batch(BIG) is None


def test_only_the_newest_value_is_sent() -> None:
    outbox = connected()
    outbox.put("a", b"1")
    outbox.put("b", b"2")
    outbox.put("a", b"3")
    assert sent(outbox.next_batch(BIG)) == [("b", b"2"), ("a", b"3")]


def test_an_empty_value_is_a_value() -> None:
    outbox = connected()
    assert outbox.put("a", b"")
    assert outbox.get("a") == b""
    assert len(outbox) == 1
    assert sent(outbox.next_batch(BIG)) == [("a", b"")]


def test_a_deletion_is_sent_and_forgotten_once_acked() -> None:
    outbox = connected("a", "b")
    assert outbox.delete("a")
    assert not outbox.delete("a")
    assert outbox.get("a") is None
    assert (len(outbox), outbox.tombstones) == (1, 1)
    batch = outbox.next_batch(BIG)
    assert batch is not None and sent(batch) == [("a", None)]
    outbox.ack(Cursor(7, batch.after))
    assert outbox.tombstones == 1
    outbox.ack(Cursor(7, batch.upto))
    assert outbox.tombstones == 0


def test_a_deleted_key_can_come_back() -> None:
    outbox = connected("a")
    outbox.delete("a")
    assert outbox.put("a", b"1")
    assert outbox.tombstones == 0
    assert sent(outbox.next_batch(BIG)) == [("a", b"1")]


def test_a_volatile_record_is_forgotten_once_acked_and_leaves_no_deletion() -> None:
    outbox = connected()
    outbox.put("token/1", b"s3cret", volatile=True)
    batch = outbox.next_batch(BIG)
    assert batch is not None
    assert outbox.get("token/1") == b"s3cret"
    outbox.ack(Cursor(7, batch.upto))
    assert outbox.get("token/1") is None
    assert not outbox.pending
    assert outbox.next_batch(BIG) is None


def test_an_unacked_volatile_record_is_sent_again_after_a_cut() -> None:
    outbox = connected()
    outbox.put("token/1", b"s3cret", volatile=True)
    outbox.next_batch(BIG)
    outbox.resume(Cursor(7, 0))
    assert sent(outbox.next_batch(BIG)) == [("token/1", b"s3cret")]


def test_a_resume_acks_what_the_receiver_has() -> None:
    outbox = connected()
    outbox.put("token/1", b"s3cret", volatile=True)
    batch = outbox.next_batch(BIG)
    assert batch is not None
    outbox.resume(Cursor(7, batch.upto))
    assert outbox.get("token/1") is None
    assert not outbox.pending


def test_a_record_that_becomes_volatile_is_sent_once_more() -> None:
    outbox = connected("a")
    assert outbox.put("a", b"1", volatile=True)
    assert not outbox.put("a", b"1", volatile=True)
    assert len(drain(outbox)) == 1
    assert outbox.get("a") is None


def test_a_batch_keeps_its_limit() -> None:
    outbox = connected()
    for key in "abcde":
        outbox.put(key, b"12345")
    batches = drain(outbox, limit=2 * (1 + 5 + 16))
    assert [len(batch.records) for batch in batches] == [2, 2, 1]


def test_a_key_counts_in_utf8() -> None:
    outbox = connected()
    outbox.put("ä", b"1")
    outbox.put("b", b"1")
    assert [len(batch.records) for batch in drain(outbox, limit=36)] == [1, 1]


def test_each_batch_follows_on_the_one_before() -> None:
    outbox = connected("a", "b")
    for key in "cdef":
        outbox.put(key, b"123")
    outbox.delete("c")
    batches = drain(outbox, limit=20)
    assert [batch.after for batch in batches[1:]] == [batch.upto for batch in batches[:-1]]
    assert batches[-1].upto == outbox.version
    for batch in batches:
        assert all(batch.after < record.version <= batch.upto for record in batch.records)


def test_the_window_bounds_what_is_in_flight() -> None:
    outbox = connected(window=2)
    for key in "abc":
        outbox.put(key, b"1")
    first, second = outbox.next_batch(18), outbox.next_batch(18)
    assert first is not None and second is not None
    assert outbox.next_batch(18) is None
    outbox.ack(Cursor(7, first.upto))
    assert sent(outbox.next_batch(18)) == [("c", b"1")]
    assert outbox.next_batch(18) is None


def test_an_ack_covers_all_batches_before_it() -> None:
    outbox = connected(window=2)
    for key in "abc":
        outbox.put(key, b"1")
    outbox.next_batch(18)
    second = outbox.next_batch(18)
    assert second is not None
    outbox.ack(Cursor(7, second.upto))
    assert sent(outbox.next_batch(18)) == [("c", b"1")]


def test_acks_of_another_epoch_and_of_what_was_not_sent_do_no_harm() -> None:
    outbox = connected("a")
    outbox.delete("a")
    outbox.ack(Cursor(8, 100))
    outbox.ack(Cursor(7, 100))
    assert outbox.tombstones == 1
    assert sent(outbox.next_batch(BIG)) == [("a", None)]


def test_a_large_value_travels_in_chunks() -> None:
    outbox = connected()
    outbox.put("small", b"1")
    outbox.put("large", b"0123456789" * 5)
    outbox.put("after", b"2")
    limit = len("large") + 16 + 20
    batches = drain(outbox, limit)
    assert [sent(batch) for batch in batches] == [
        [("small", b"1")],
        [("large", b"01234567890123456789")],
        [("large", b"01234567890123456789")],
        [("large", b"0123456789")],
        [("after", b"2")],
    ]
    assert [batch.records[0].more for batch in batches] == [False, True, True, False, False]
    assert len({batch.upto for batch in batches}) == 5
    version = batches[3].records[0].version
    assert [batch.upto < version for batch in batches] == [True, True, True, False, False]


def test_the_window_counts_chunks() -> None:
    outbox = connected(window=2)
    outbox.put("a", b"0123456789" * 5)
    first = outbox.next_batch(27)
    assert first is not None
    assert outbox.next_batch(27) is not None
    assert outbox.next_batch(27) is None
    outbox.ack(Cursor(7, first.upto))
    assert outbox.next_batch(27) is not None


@pytest.mark.parametrize("delete", [True, False])
def test_the_rest_of_a_value_that_changed_midway_is_not_sent(delete: bool) -> None:
    outbox = connected()
    outbox.put("a", b"0123456789" * 5)
    outbox.put("b", b"1")
    outbox.next_batch(27)
    if delete:
        outbox.delete("a")
    else:
        outbox.put("a", b"new")
    assert sent(outbox.next_batch(BIG)) == [("b", b"1"), ("a", None if delete else b"new")]
    assert outbox.next_batch(BIG) is None


def test_a_chunk_has_at_least_one_byte_however_small_the_limit() -> None:
    outbox = connected()
    outbox.put("a", b"123")
    assert [sent(batch) for batch in drain(outbox, 1)] == [[("a", b"1")], [("a", b"2")], [("a", b"3")]]


def test_many_keys_that_came_and_went_leave_nothing() -> None:
    outbox = connected()
    for number in range(2000):
        outbox.put(f"event/{number}", b"1")
        outbox.delete(f"event/{number}")
        if number % 100 == 0:
            drain(outbox)
    drain(outbox)
    assert list(outbox) == []
    assert (len(outbox), outbox.tombstones, outbox.pending) == (0, 0, False)


def test_what_no_receiver_would_accept_is_refused_at_once() -> None:
    outbox = Outbox(7, max_value_bytes=10)
    outbox.put("k" * 512, b"0123456789")
    for key, value in (("", b""), ("k" * 513, b""), ("ä" * 257, b""), ("k", b"0123456789+")):
        with pytest.raises(InvalidInput):
            outbox.put(key, value)
    assert len(outbox) == 1


@pytest.mark.parametrize("epoch", [0, -1, 2**63])
def test_an_epoch_has_63_bits_and_is_not_zero(epoch: int) -> None:
    with pytest.raises(InvalidInput):
        Outbox(epoch)


def test_a_window_holds_at_least_one_batch() -> None:
    with pytest.raises(InvalidInput):
        Outbox(7, window=0)
