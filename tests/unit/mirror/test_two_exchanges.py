"""Two Exchanges over a bad link: both maps, both lanes, through real messages.

What `test_convergence.py` does to one lane, in less detail, to the whole: frames are encoded, lost and cut,
either end restarts. Once the link stays up, each end holds the map of the other.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from arbora.mirror import wire
from arbora.mirror.exchange import Exchange, Frame
from arbora.mirror.inbox import Inbox
from arbora.mirror.records import Cursor, Lane
from arbora.v1 import session_pb2 as pb

END = st.sampled_from([0, 1])
KEYS = st.sampled_from(["status", "reservation/1", "gpu/a", "gpu/b", "workload/x"])
SELDOM = st.sampled_from([False, False, False, True])
RECONNECT = st.sampled_from([True, True, False])
LIMITS = st.sampled_from([40, 70, 1000])
WINDOW = 2


def over_the_wire(lane: Lane, cursor: Cursor) -> tuple[Lane, Cursor]:
    return wire.cursor_from_wire(pb.Cursor.FromString(wire.cursor_to_wire(lane, cursor).SerializeToString()))


class TwoEnds(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.ends = [Exchange(1, window=WINDOW), Exchange(2, window=WINDOW)]
        self.truth: list[dict[str, bytes]] = [{}, {}]
        self.saved: list[dict[Lane, Inbox]] = [{}, {}]
        # Frames that each end has sent; None is a lost one.
        self.wires: list[list[Frame | None]] = [[], []]
        self.up = False
        self.disturbed = False

    @initialize()
    def begin(self) -> None:
        self.connect()

    @rule(end=END, key=KEYS, size=st.sampled_from([0, 5, 60, 120]))
    def put(self, end: int, key: str, size: int) -> None:
        self.step += 1
        self.truth[end][key] = b"%06d" % self.step + b"." * size
        assert self.ends[end].put(key, self.truth[end][key])

    @rule(end=END, key=KEYS)
    def delete(self, end: int, key: str) -> None:
        assert self.ends[end].delete(key) == (self.truth[end].pop(key, None) is not None)

    @precondition(lambda self: self.up)
    @rule(end=END, limit=LIMITS)
    def send(self, end: int, limit: int) -> None:
        frame = self.ends[end].next_frame(limit)
        if frame is not None:
            self.wires[end].append(frame)

    @precondition(lambda self: self.up)
    @rule(end=END)
    def deliver(self, end: int) -> None:
        if self.wires[end]:
            frame = self.wires[end].pop(0)
            if frame is not None:
                self.take(1 - end, frame)

    @precondition(lambda self: self.up)
    @rule(end=END, index=st.integers(0, 9), seldom=SELDOM)
    def lose(self, end: int, index: int, seldom: bool) -> None:
        if seldom and self.wires[end]:
            self.wires[end][index % len(self.wires[end])] = None
            self.disturbed = True

    @rule(reconnect=RECONNECT, seldom=SELDOM)
    def cut(self, reconnect: bool, seldom: bool) -> None:
        if not seldom:
            return self.flow()
        self.cut_the_stream()
        if reconnect:
            self.connect()

    @precondition(lambda self: not self.up)
    @rule()
    def connect(self) -> None:
        self.disturbed = False
        cursors = [[over_the_wire(*told) for told in end.cursors()] for end in self.ends]
        self.ends[1].resume(cursors[0])
        self.ends[0].resume(cursors[1])
        self.up = True

    @rule(end=END)
    def save(self, end: int) -> None:
        inboxes = {lane: self.ends[end].inbox(lane) for lane in Lane}
        self.saved[end] = {lane: Inbox(inbox.items, inbox.cursor) for lane, inbox in inboxes.items()}

    @rule(end=END, forget=st.sets(KEYS, max_size=2), restored=st.booleans(), reconnect=RECONNECT, seldom=SELDOM)
    def restart(self, end: int, forget: set[str], restored: bool, reconnect: bool, seldom: bool) -> None:
        if not seldom:
            return self.flow()
        self.cut_the_stream()
        self.step += 1
        self.ends[end] = Exchange(10 + self.step, window=WINDOW, inboxes=self.saved[end] if restored else None)
        self.saved[end] = {}
        for key in forget:
            self.truth[end].pop(key, None)
        for key, value in self.truth[end].items():
            self.ends[end].put(key, value)
        if reconnect:
            self.connect()

    def flow(self) -> None:
        """Traffic, so that there is something to disturb."""
        for end in (0, 1, 0, 1):
            if self.up:
                self.send(end, 70)
                self.deliver(end)

    def cut_the_stream(self) -> None:
        self.up = False
        self.wires = [[], []]
        for end in self.ends:
            end.cut()

    def take(self, end: int, frame: Frame) -> None:
        for told in frame.acks:
            self.ends[end].acked(*over_the_wire(*told))
        if frame.batch is None:
            return
        message = wire.batch_to_wire(frame.lane, frame.batch)
        lane, batch = wire.batch_from_wire(pb.Batch.FromString(message.SerializeToString()))
        assert (lane, batch) == (frame.lane, frame.batch)
        applied = self.ends[end].received(lane, batch)
        if applied.gap:
            assert self.disturbed, "a gap, and nothing was lost"
            self.cut_the_stream()
            return
        for key in applied.changed:
            assert self.ends[end].received_value(key) is not None
        for key in applied.removed:
            assert self.ends[end].received_value(key) is None

    def teardown(self) -> None:
        """From now on the link stays up."""
        if self.disturbed:
            self.cut_the_stream()
        if not self.up:
            self.connect()
        for _ in range(150):
            for end in (0, 1):
                self.send(end, 70)
                self.deliver(end)
            if not any(self.wires) and not any(end.pending for end in self.ends):
                break
        else:
            raise AssertionError("the two ends never come to rest")
        for end in (0, 1):
            assert dict(self.ends[end].received_items()) == self.truth[1 - end]
            assert {key: self.ends[end].get(key) for key in self.truth[end]} == self.truth[end]
            assert self.ends[end].next_frame(70) is None


# settings: about 4 s on one core; raise max_examples to search longer.
TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(
    max_examples=250,
    stateful_step_count=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
