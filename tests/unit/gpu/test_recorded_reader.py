"""`RecordedReader` keeps the contract of the port, and plays a recording at its own speed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arbora_agent.gpu.port import GpuReader, GpusUnavailable
from arbora_agent.gpu.reading import Answer, GpuFacts, NodeFacts, Xid
from arbora_agent.gpu.recorded.form import Entry, Recording
from arbora_agent.gpu.recorded.reader import RecordedReader
from tests.contract.gpu_reader import ONE, VALUES, GpuReaderContract, World


class RecordedWorld:
    """What happens is said to each reader, and to those that are made later."""

    def __init__(self) -> None:
        self._said: list[Entry] = []
        self._readers: list[RecordedReader] = []
        self._facts = NodeFacts("570.86.10", "12.8")
        self._say(Entry(0.0, facts=self._facts))

    def reader(self) -> GpuReader:
        one = RecordedReader(Recording(entries=tuple(self._said)))
        self._readers.append(one)
        return one

    def add(self, uuid: str) -> None:
        gpu = GpuFacts(uuid, len(self._facts.gpus), name="NVIDIA H100 80GB HBM3")
        self._facts = NodeFacts(self._facts.driver, self._facts.cuda, (*self._facts.gpus, gpu))
        self._say(Entry(0.0, facts=self._facts))
        self._say(Entry(0.0, uuid=uuid, read=dict(VALUES)))

    def set(self, uuid: str, name: str, value: int | bool | None) -> None:
        self._say(Entry(0.0, uuid=uuid, read={name: value}))

    def lose(self, uuid: str) -> None:
        self._away(uuid, Answer.LOST)

    def require_reset(self, uuid: str) -> None:
        self._away(uuid, Answer.RESET_REQUIRED)

    def repair(self, uuid: str) -> None:
        self._say(Entry(0.0, uuid=uuid, read={"answer": Answer.ANSWERS, **VALUES}))

    def raise_xid(self, code: int, uuid: str) -> None:
        self._say(Entry(0.0, event=Xid(code, uuid)))

    def driver_gone(self) -> None:
        self._say(Entry(0.0, away="the driver is not loaded"))

    def driver_back(self) -> None:
        self._say(Entry(0.0, away=""))

    def close(self) -> None:
        for each in self._readers:
            each.close()

    def _away(self, uuid: str, answer: Answer) -> None:
        self._say(Entry(0.0, uuid=uuid, read={"answer": answer, **dict.fromkeys(VALUES)}))

    def _say(self, entry: Entry) -> None:
        self._said.append(entry)
        for each in self._readers:
            each.happen(entry)


class TestRecordedReader(GpuReaderContract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        made = RecordedWorld()
        yield made
        made.close()


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


FACTS = NodeFacts("570.86.10", "12.8", (GpuFacts(ONE, 0),))
MINUTE = Recording(
    entries=(
        Entry(0.0, facts=FACTS),
        Entry(0.0, uuid=ONE, read={"temperature": 60}),
        Entry(30.0, event=Xid(79, ONE)),
        Entry(60.0, uuid=ONE, read={"temperature": 90}),
    )
)


def test_a_recording_is_played_at_the_speed_at_which_it_was_made() -> None:
    clock = Hand()
    reader = RecordedReader(MINUTE, clock=clock)
    reader.open()
    clock.now += 59.0
    assert reader.read(ONE).temperature == 60
    clock.now += 1.0
    assert reader.read(ONE).temperature == 90


def test_what_was_not_waited_for_is_told_by_the_next_wait() -> None:
    clock = Hand()
    reader = RecordedReader(MINUTE, clock=clock)
    reader.open()
    assert reader.wait(0.0) == ()
    clock.now += 45.0
    assert reader.wait(0.0) == (Xid(79, ONE),)


def test_time_begins_with_the_first_opening_and_not_with_a_later_one() -> None:
    clock = Hand()
    reader = RecordedReader(MINUTE, clock=clock)
    clock.now += 1000.0
    reader.open()
    clock.now += 30.0
    reader.open()
    clock.now += 30.0
    assert reader.read(ONE).temperature == 90


def test_after_its_end_a_recording_stays_as_it_is() -> None:
    clock = Hand()
    reader = RecordedReader(MINUTE, clock=clock)
    reader.open()
    clock.now += 100_000.0
    assert reader.read(ONE).temperature == 90


def test_after_its_end_a_recording_begins_again_where_that_is_wanted() -> None:
    clock = Hand()
    reader = RecordedReader(MINUTE, again=True, clock=clock)
    reader.open()
    clock.now += 60.0
    assert reader.read(ONE).temperature == 60
    clock.now += 60.0
    assert reader.wait(0.0) == (Xid(79, ONE), Xid(79, ONE))


def test_a_recording_can_begin_without_a_driver() -> None:
    clock = Hand()
    away = Recording(
        entries=(Entry(0.0, away="the driver is not loaded"), Entry(5.0, away=""), Entry(5.0, facts=FACTS))
    )
    reader = RecordedReader(away, clock=clock)
    with pytest.raises(GpusUnavailable, match="not loaded"):
        reader.open()
    clock.now += 5.0
    reader.open()
    assert reader.facts() == FACTS
