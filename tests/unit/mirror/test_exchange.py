"""What an Exchange promises: lanes, acks, streams."""

from __future__ import annotations

import tracemalloc

import pytest

from arbora.mirror.exchange import Exchange, Frame, lane_of
from arbora.mirror.inbox import Inbox
from arbora.mirror.records import Cursor, Lane

LIMIT = 1000


def connect(one: Exchange, other: Exchange) -> None:
    """What Hello and Welcome do."""
    hello, welcome = one.cursors(), other.cursors()
    other.resume(hello)
    one.resume(welcome)


def carry(frame: Frame, receiver: Exchange) -> None:
    for lane, cursor in frame.acks:
        receiver.acked(lane, cursor)
    if frame.batch is not None:
        assert not receiver.received(frame.lane, frame.batch).gap


def settle(one: Exchange, other: Exchange) -> int:
    """Let both talk until both are silent; returns how many frames that took."""
    frames = 0
    while True:
        frame, answer = one.next_frame(LIMIT), other.next_frame(LIMIT)
        if frame is None and answer is None:
            return frames
        if frame is not None:
            carry(frame, other)
            frames += 1
        if answer is not None:
            carry(answer, one)
            frames += 1


def pair() -> tuple[Exchange, Exchange]:
    """A child and its hub, connected and at rest."""
    child, hub = Exchange(5), Exchange(6)
    connect(child, hub)
    settle(child, hub)
    return child, hub


@pytest.mark.parametrize(
    "key",
    [
        "token-request/1",
        "token/1",
        "tunnel/1",
        "settings",
        "reservation/1",
        "offer/1",
        "offer-request/1",
        "status",
        "event/1",
        "gpu/node-1",
    ],
)
def test_urgent_kinds_travel_in_the_control_lane(key: str) -> None:
    assert lane_of(key) is Lane.CONTROL


@pytest.mark.parametrize(
    "key",
    ["assignment/1", "workload/1", "sketch/h100", "gpu-values/n", "member/eu/a", "new-kind/1", "tokens"],
)
def test_all_other_kinds_travel_in_the_bulk_lane(key: str) -> None:
    assert lane_of(key) is Lane.BULK


def test_both_maps_arrive_at_the_other_end() -> None:
    child, hub = pair()
    assert child.put("status", b"up")
    assert child.put("gpu-values/a", b"8")
    assert hub.put("assignment/1", b"run")
    settle(child, hub)
    assert dict(hub.received_items()) == {"status": b"up", "gpu-values/a": b"8"}
    assert child.received_value("assignment/1") == b"run"
    assert child.get("assignment/1") is None
    assert hub.get("assignment/1") == b"run"
    assert hub.delete("assignment/1")
    settle(child, hub)
    assert dict(child.received_items()) == {}
    assert not child.pending and not hub.pending


def test_the_control_lane_goes_first() -> None:
    child, _ = pair()
    child.put("gpu-values/a", b"8")
    child.put("status", b"up")
    lanes = [frame.lane for _ in range(2) if (frame := child.next_frame(LIMIT))]
    assert lanes == [Lane.CONTROL, Lane.BULK]


def test_an_urgent_record_overtakes_a_large_one() -> None:
    child, _ = pair()
    child.put("workload/1", b"x" * 5000)
    first = child.next_frame(LIMIT)
    assert first is not None and first.lane is Lane.BULK
    child.put("status", b"up")
    second = child.next_frame(LIMIT)
    assert second is not None and second.lane is Lane.CONTROL


def test_acks_ride_on_a_batch_or_go_alone() -> None:
    child, hub = pair()
    child.put("status", b"up")
    frame = child.next_frame(LIMIT)
    assert frame is not None
    carry(frame, hub)
    alone = hub.next_frame(LIMIT)
    assert alone is not None
    assert (alone.batch, [lane for lane, _ in alone.acks]) == (None, [Lane.CONTROL])
    carry(alone, child)
    assert child.next_frame(LIMIT) is None, "an ack needs no ack"
    child.put("status", b"down")
    frame = child.next_frame(LIMIT)
    assert frame is not None
    carry(frame, hub)
    hub.put("assignment/1", b"run")
    riding = hub.next_frame(LIMIT)
    assert riding is not None
    assert riding.batch is not None and len(riding.acks) == 1
    assert hub.next_frame(LIMIT) is None


def test_one_ack_covers_several_batches() -> None:
    child, hub = pair()
    for number in range(3):
        child.put("gpu-values/a", b"%d" % number)
        frame = child.next_frame(LIMIT)
        assert frame is not None
        carry(frame, hub)
    ack = hub.next_frame(LIMIT)
    assert ack is not None and len(ack.acks) == 1
    carry(ack, child)
    assert not child.pending


def test_nothing_is_sent_while_there_is_no_stream() -> None:
    child, hub = pair()
    child.cut()
    hub.cut()
    child.put("status", b"up")
    assert child.next_frame(LIMIT) is None
    connect(child, hub)
    settle(child, hub)
    assert hub.received_value("status") == b"up"


def test_acks_of_a_stream_that_was_cut_are_not_sent_on_the_next() -> None:
    child, hub = pair()
    child.put("status", b"up")
    frame = child.next_frame(LIMIT)
    assert frame is not None
    carry(frame, hub)
    hub.cut()
    connect(child, hub)
    assert hub.next_frame(LIMIT) is None


def test_after_a_cut_only_what_changed_is_sent() -> None:
    child, hub = pair()
    for number in range(100):
        child.put(f"gpu-values/{number}", b"8")
    settle(child, hub)
    child.cut()
    hub.cut()
    child.put("gpu-values/7", b"4")
    connect(child, hub)
    frame = child.next_frame(LIMIT)
    assert frame is not None and frame.batch is not None
    assert [record.key for record in frame.batch.records] == ["gpu-values/7"]


def test_a_gap_is_not_acked() -> None:
    child, hub = pair()
    child.put("gpu-values/a", b"1")
    child.next_frame(LIMIT)
    child.put("gpu-values/a", b"2")
    frame = child.next_frame(LIMIT)
    assert frame is not None and frame.batch is not None
    assert hub.received(frame.lane, frame.batch).gap
    assert hub.next_frame(LIMIT) is None


def test_a_hub_that_lost_its_memory_keeps_nothing_of_what_the_child_had() -> None:
    child, hub = pair()
    hub.put("assignment/1", b"run")
    hub.put("assignment/2", b"run")
    child.put("status", b"up")
    settle(child, hub)
    child.cut()
    hub = Exchange(7)
    hub.put("assignment/2", b"run")
    connect(child, hub)
    settle(child, hub)
    assert dict(child.received_items()) == {"assignment/2": b"run"}
    assert hub.received_value("status") == b"up"


def test_a_child_that_kept_what_it_received_goes_on_from_there() -> None:
    child, hub = pair()
    hub.put("assignment/1", b"run")
    settle(child, hub)
    inbox = child.inbox(Lane.BULK)
    child = Exchange(8, inboxes={Lane.BULK: Inbox(inbox.items, inbox.cursor)})
    assert child.received_value("assignment/1") == b"run"
    connect(child, hub)
    frame = hub.next_frame(LIMIT)
    assert frame is not None and frame.lane is Lane.CONTROL
    assert hub.next_frame(LIMIT) is None, "the bulk lane has nothing new"


def test_a_token_leaves_the_sender_once_acked_and_the_receiver_once_discarded() -> None:
    child, hub = pair()
    child.put("token/1", b"s3cret", volatile=True)
    settle(child, hub)
    assert child.get("token/1") is None
    assert hub.received_value("token/1") == b"s3cret"
    hub.discard("token/1")
    assert hub.received_value("token/1") is None


def test_a_lane_that_the_other_end_does_not_mention_starts_anew() -> None:
    child, _ = pair()
    child.put("gpu-values/a", b"8")
    child.resume([(Lane.CONTROL, Cursor())])
    frames = [child.next_frame(LIMIT) for _ in range(2)]
    assert all(frame and frame.batch and frame.batch.snapshot_end for frame in frames)


def test_an_idle_exchange_is_small() -> None:
    pairs = [pair() for _ in range(10)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        pairs += [pair() for _ in range(100)]
        each = (tracemalloc.get_traced_memory()[0] - before) / 200
    finally:
        tracemalloc.stop()
    assert each < 3000
