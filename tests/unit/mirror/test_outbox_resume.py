"""What an Outbox sends after a cut: what the receiver lacks, or a snapshot."""

from __future__ import annotations

from arbora.mirror.outbox import Outbox
from arbora.mirror.records import Cursor
from tests.unit.mirror.sending import BIG, connected, drain, sent


def test_a_receiver_that_knows_nothing_gets_a_snapshot() -> None:
    outbox = connected("a", "b")
    outbox.resume(Cursor())
    batches = drain(outbox, 18)
    assert [sent(batch) for batch in batches] == [[("a", b"1")], [("b", b"1")]]
    assert [(batch.snapshot, batch.snapshot_end) for batch in batches] == [(True, False), (True, True)]
    assert batches[0].after == 0


def test_the_snapshot_of_an_empty_map_is_one_empty_batch() -> None:
    outbox = Outbox(7)
    assert outbox.pending
    (batch,) = drain(outbox)
    assert (batch.records, batch.snapshot, batch.snapshot_end) == ((), True, True)
    assert not outbox.pending


def test_after_a_cut_only_what_the_receiver_lacks_is_sent() -> None:
    outbox = connected("a", "b", "c")
    cursor = Cursor(7, outbox.version)
    outbox.put("b", b"2")
    outbox.next_batch(BIG)
    outbox.put("a", b"2")
    outbox.resume(cursor)
    (batch,) = drain(outbox)
    assert sent(batch) == [("b", b"2"), ("a", b"2")]
    assert not batch.snapshot
    assert batch.after == cursor.version


def test_a_value_that_was_cut_midway_starts_again() -> None:
    outbox = connected()
    outbox.put("a", b"0123456789" * 5)
    outbox.next_batch(27)
    outbox.resume(Cursor(7, 0))
    batch = outbox.next_batch(BIG)
    assert sent(batch) == [("a", b"0123456789" * 5)]


def test_a_cursor_inside_of_a_value_means_without_that_value() -> None:
    outbox = connected()
    outbox.put("a", b"0123456789")
    outbox.resume(Cursor(7, 4))
    batch = outbox.next_batch(BIG)
    assert batch is not None
    assert (batch.after, batch.upto) == (0, 10)


def test_a_receiver_that_missed_a_forgotten_deletion_gets_a_snapshot() -> None:
    outbox = connected("a", "b")
    older = Cursor(7, outbox.version)
    outbox.delete("a")
    drain(outbox)
    outbox.resume(older)
    (batch,) = drain(outbox)
    assert sent(batch) == [("b", b"1")]
    assert batch.snapshot_end
    outbox.resume(Cursor(7, batch.upto))
    assert not outbox.pending


def test_a_receiver_that_has_seen_the_forgotten_deletion_does_not() -> None:
    outbox = connected("a", "b")
    outbox.delete("a")
    drain(outbox)
    outbox.resume(Cursor(7, outbox.version))
    assert outbox.next_batch(BIG) is None


def test_a_receiver_ahead_of_the_sender_gets_a_snapshot_of_a_new_epoch() -> None:
    outbox = connected("a")
    outbox.resume(Cursor(7, outbox.version + 1))
    (batch,) = drain(outbox)
    assert batch.snapshot_end
    assert batch.epoch == outbox.epoch != 7
    outbox.resume(Cursor(batch.epoch, batch.upto))
    assert not outbox.pending


def test_a_snapshot_ends_only_when_every_key_of_its_start_was_sent() -> None:
    outbox = connected("a", "b", "c")
    outbox.resume(Cursor())
    assert sent(outbox.next_batch(18)) == [("a", b"1")]
    outbox.put("b", b"2")
    outbox.put("new", b"1")
    batches = [outbox.next_batch(18) for _ in range(2)]
    assert [sent(batch) for batch in batches] == [[("c", b"1")], [("b", b"2")]]
    assert [batch.snapshot_end for batch in batches if batch] == [False, True]
    last = outbox.next_batch(20)
    assert last is not None and not last.snapshot
    assert sent(last) == [("new", b"1")]


def test_a_snapshot_does_not_wait_for_a_key_that_was_deleted() -> None:
    outbox = connected("a", "b")
    outbox.resume(Cursor())
    outbox.next_batch(18)
    outbox.put("c", b"1")
    outbox.delete("b")
    batch = outbox.next_batch(18)
    assert sent(batch) == [("c", b"1")]
    assert batch is not None and batch.snapshot_end
    assert sent(outbox.next_batch(18)) == [("b", None)]


def test_a_snapshot_that_was_cut_starts_again() -> None:
    outbox = connected("a", "b")
    outbox.resume(Cursor())
    outbox.next_batch(18)
    outbox.delete("a")
    outbox.resume(Cursor())
    (batch,) = drain(outbox)
    assert sent(batch) == [("b", b"1")]
    assert batch.after == 0
    assert batch.snapshot_end


def test_a_snapshot_that_was_cut_is_dropped_for_a_receiver_that_does_not_need_it() -> None:
    outbox = connected("a", "b")
    outbox.resume(Cursor())
    outbox.next_batch(18)
    outbox.resume(Cursor(7, outbox.version))
    outbox.put("c", b"1")
    (batch,) = drain(outbox)
    assert sent(batch) == [("c", b"1")]
    assert not batch.snapshot


def test_a_receiver_that_has_a_whole_snapshot_needs_no_other_one() -> None:
    outbox = connected("a", "b", "c")
    older = Cursor(7, outbox.version)
    outbox.delete("c")
    drain(outbox)
    outbox.resume(older)
    assert sent(outbox.next_batch(18)) == [("a", b"1")]
    outbox.put("d", b"1")
    last = outbox.next_batch(18)
    assert last is not None
    assert (sent(last), last.snapshot_end) == ([("b", b"1")], True)
    outbox.resume(Cursor(7, last.upto))
    (batch,) = drain(outbox)
    assert sent(batch) == [("d", b"1")]
    assert not batch.snapshot


def test_a_snapshot_needs_no_tombstones() -> None:
    outbox = connected("a", "b")
    outbox.delete("a")
    outbox.resume(Cursor())
    (batch,) = drain(outbox)
    assert sent(batch) == [("b", b"1")]
    assert outbox.tombstones == 0
