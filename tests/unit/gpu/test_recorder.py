"""Recordings that are made: they say again what was said, name nobody, and are whole wherever they end."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from arbora.clock import ManualClock
from arbora.errors import StorageFailed
from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.port import GpusUnavailable
from arbora_agent.gpu.reading import Answer, Changed, GpuFacts, GpuReading, MigFacts, NodeFacts, Xid
from arbora_agent.gpu.recorded import RecordedReader, Recording, named
from arbora_agent.gpu.recorded.form import Entry, made, parse
from arbora_agent.gpu.recorded.placeholders import Placeholders
from arbora_agent.gpu.recorded.recorder import Recorder, described
from arbora_agent.node_agent.worker import Hanging
from tests.support.eventually import eventually
from tests.support.gpus import facts_of, recording_of, uuid_of
from tests.support.nvml.node import PlayedNode, h100

ONE, TWO = uuid_of("n", 0), uuid_of("n", 1)
PLACE = "GPU-00000000-0000-4000-8000-{:012x}"


class Making:
    """A recorder at work, on a clock that the test turns."""

    def __init__(self, recorder: Recorder, reader: RecordedReader, clock: ManualClock) -> None:
        self.recorder = recorder
        self.reader = reader
        self.clock = clock
        self.out = io.StringIO()
        self.stop = asyncio.Event()
        self.task: asyncio.Task[Any] | None = None

    async def begin(self, seconds: float = 3600.0, about: str = "") -> None:
        self.task = asyncio.create_task(self.recorder.record(self.out, seconds, self.stop, about))
        await self.waits()

    async def waits(self) -> None:
        """Until nothing is left to do before time goes on."""
        assert self.task is not None
        await eventually(lambda: self.clock.next_moment() is not None or self.task.done(), "it waits")  # type: ignore[union-attr]

    async def turn(self, seconds: float) -> None:
        """Let so much time pass, and what it brings happen."""
        self.clock.advance(seconds)
        self.reader.happen()
        await self.waits()

    async def said(self, *entries: Entry) -> None:
        """The driver says this now; events are heard before time goes on."""
        events = self.recorder.progress.events + sum(each.event is not None for each in entries)
        self.reader.happen(*entries)
        await eventually(lambda: self.recorder.progress.events == events, "the events are heard")
        await self.waits()

    async def end(self) -> Recording:
        """Stop it; what it has made."""
        self.stop.set()
        assert self.task is not None
        await self.task
        return self.made

    @property
    def made(self) -> Recording:
        """As far as it is."""
        return parse(self.out.getvalue().splitlines())


@asynccontextmanager
async def making(recording: Recording | None = None, **options: Any) -> AsyncIterator[Making]:
    clock = ManualClock(500.0)
    reader = RecordedReader(recording or recording_of("n", 2), clock=clock.monotonic)
    async with Recorder(reader, clock=clock, **{"keep_ids": True, **options}) as recorder:
        one = Making(recorder, reader, clock)
        try:
            yield one
        finally:
            if one.task is not None:
                one.task.cancel()
                await asyncio.gather(one.task, return_exceptions=True)


def state(reader: RecordedReader) -> tuple[NodeFacts, list[GpuReading]]:
    facts = reader.facts()
    return facts, [reader.read(gpu.uuid) for gpu in facts.gpus]


# it says again what was said


@pytest.mark.parametrize("name", made())
async def test_what_was_recorded_replays_to_the_same_readings_and_events(name: str) -> None:
    played = named(name)
    ticks = int(played.seconds // 10) + 2
    async with making(played) as one:
        await one.begin()
        before = [state(one.reader)]
        for _ in range(ticks):
            await one.turn(10.0)
            before.append(state(one.reader))
        events = [each.event for each in played.entries if each.event is not None]
        await eventually(lambda: one.recorder.progress.events == len(events), "all events are heard")
        again = await one.end()
    clock = ManualClock(0.0)
    reader = RecordedReader(again, clock=clock.monotonic)
    reader.open()
    after = [state(reader)]
    for _ in range(ticks):
        clock.advance(10.0)
        after.append(state(reader))
    assert after == before
    assert [each.event for each in again.entries if each.event is not None] == events


async def test_only_what_has_changed_is_written() -> None:
    async with making() as one:
        await one.begin()
        lines = one.recorder.progress.lines
        assert lines == 2 + 2, "the head, the facts, and each device once"
        await one.turn(10.0)
        await one.turn(10.0)
        assert one.recorder.progress.lines == lines
        await one.said(Entry(0.0, uuid=ONE, read={"temperature": 36}))
        await one.turn(10.0)
        assert json.loads(one.out.getvalue().splitlines()[-1]) == {
            **{"at": 30.0, "uuid": ONE, "read": {"temperature": 36}}
        }


async def test_an_event_is_written_as_it_comes_and_its_device_is_read_at_once() -> None:
    async with making() as one:
        await one.begin()
        await one.turn(4.0)
        lost = {"answer": Answer.LOST, "temperature": None}
        await one.said(Entry(0.0, uuid=ONE, read=lost), Entry(0.0, event=Xid(79, ONE)))
        await eventually(lambda: len(one.made.entries) == 5, "both are written")
        event, reading = one.made.entries[-2:]
        assert (event.at, event.event) == (4.0, Xid(79, ONE))
        assert (reading.at, reading.uuid, reading.read) == (4.0, ONE, lost)


async def test_facts_that_changed_are_written_when_the_driver_says_so() -> None:
    async with making() as one:
        await one.begin()
        await one.said(Entry(0.0, facts=facts_of("n", 1)), Entry(0.0, event=Changed(TWO)))
        await eventually(lambda: one.made.entries[-1].facts is not None, "the new facts are written")
        assert [gpu.uuid for gpu in (await one.end()).entries[4].facts.gpus] == [ONE]  # type: ignore[union-attr]


async def test_a_driver_that_goes_away_and_comes_back_is_recorded_as_that() -> None:
    async with making() as one:
        await one.begin()
        await one.said(Entry(0.0, away="the driver is not loaded"))
        for _ in range(3):
            await one.turn(10.0)
        assert one.made.entries[-1].away == "the driver is not loaded"
        assert [each.away for each in one.made.entries].count("the driver is not loaded") == 1
        await one.said(Entry(0.0, away=""), Entry(0.0, uuid=ONE, read={"temperature": 99}))
        await one.turn(10.0)
        await eventually(lambda: one.made.entries[-1].read == {"temperature": 99}, "it is read again")
        assert one.made.entries[-2].away == ""


# it ends in order


async def test_it_ends_after_its_time_and_lasts_as_long_as_that() -> None:
    async with making() as one:
        await one.begin(25.0)
        for _ in range(3):
            await one.turn(10.0)
        assert one.task is not None
        await one.task
        assert one.recorder.progress.gpus == 2
        assert one.made.seconds >= 25.0


async def test_at_every_moment_the_file_is_whole_so_far() -> None:
    async with making() as one:
        await one.begin()
        assert one.made.entries[-1].uuid == TWO
        assert one.out.getvalue().endswith("\n")
        await one.turn(3.0)
        recording = await one.end()
        assert recording.seconds == 3.0, "it was stopped there"


class Full(io.StringIO):
    """A file on a disk that is full after some lines."""

    def write(self, text: str) -> int:
        if self.getvalue().count("\n") >= 3:
            raise OSError(28, "No space left on device")
        return super().write(text)


async def test_a_disk_that_is_full_ends_it_and_what_was_written_is_whole() -> None:
    async with making() as one:
        one.out = Full()
        with pytest.raises(StorageFailed, match="No space left on device"):
            await one.recorder.record(one.out, 60.0, one.stop)
        assert len(one.made.entries) == 2


async def test_without_a_driver_nothing_begins_and_the_reason_is_the_drivers() -> None:
    away = Recording(entries=(Entry(0.0, away="the driver is not loaded"),))
    with pytest.raises(GpusUnavailable, match="the driver is not loaded"):
        async with making(away):
            raise AssertionError("it must not begin")


class Hung(RecordedReader):
    """Its second device holds the driver until it is let go."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self.let_go = threading.Event()

    def read(self, uuid: str) -> GpuReading:
        if uuid == TWO:
            self.let_go.wait(10.0)
        return super().read(uuid)


async def test_a_device_that_hangs_is_recorded_as_silent_and_does_not_keep_it_from_ending() -> None:
    reader, out, stop = Hung(recording_of("n", 2)), io.StringIO(), asyncio.Event()
    async with Recorder(reader, keep_ids=True, call_seconds=0.05) as recorder:
        await recorder.record(out, 0.2, stop)
        reader.let_go.set()
    silent = [each.read for each in parse(out.getvalue().splitlines()).entries if each.uuid == TWO]
    assert silent
    assert silent[0] is not None
    assert silent[0]["answer"] is Answer.SILENT
    assert "has not come back" in silent[0]["problem"]


async def test_a_driver_that_hangs_when_it_is_opened_is_told() -> None:
    class Stuck(RecordedReader):
        def open(self) -> None:
            let_go.wait(10.0)

    let_go = threading.Event()
    with pytest.raises(Hanging, match="being opened"):
        try:
            async with Recorder(Stuck(Recording()), call_seconds=0.05):
                raise AssertionError("it must not begin")
        finally:
            let_go.set()


# who said it


async def test_what_a_recording_plays_is_never_recorded_as_real() -> None:
    played = dataclasses.replace(recording_of("n", 1), real=True)
    async with making(played) as one:
        await one.begin(about="mine")
        recording = await one.end()
        assert (recording.real, recording.about) == (False, "mine")


async def test_what_nvidias_library_says_is_real(node: PlayedNode) -> None:
    node.add("0", h100("GPU-5a1c0000-1111-2222-3333-444444444444"))
    out = io.StringIO()
    async with Recorder(NvmlReader()) as recorder:
        await recorder.record(out, 0.1, asyncio.Event())
    recording = parse(out.getvalue().splitlines())
    assert recording.real
    assert recording.about == "1 NVIDIA H100 80GB HBM3, driver 570.86.10"
    assert recording.entries[1].read is not None
    assert recording.entries[1].read["temperature"] == 61
    assert "5a1c0000" not in out.getvalue()


def test_what_is_recorded_is_told_by_product() -> None:
    assert described(facts_of("n", 8)) == "8 NVIDIA H100 80GB HBM3, driver 570.86.10"
    assert described(NodeFacts()) == "no GPUs"


# it names nobody

REAL = "GPU-5a1c77e0-9b1d-4a52-8c11-0123456789ab"
OTHER = "GPU-99999999-9b1d-4a52-8c11-0123456789ab"
MIG = "MIG-77e05a1c-9b1d-4a52-8c11-0123456789ab"
FACTS = NodeFacts(
    "570.86.10",
    "12.8",
    (
        GpuFacts(REAL, 3, name="NVIDIA H100", serial="1650023000000", mig=(MigFacts(MIG, "1g.10gb"),)),
        GpuFacts(OTHER, 5, name="NVIDIA H100", serial="1650023000001"),
    ),
)


async def test_no_number_that_names_a_machine_is_left_anywhere() -> None:
    words = f"the GPU {REAL} with serial 1650023000000 and its {MIG} can't be reached"
    entries = [
        Entry(0.0, facts=FACTS),
        *(Entry(0.0, uuid=uuid, read={"temperature": 40}) for uuid in (REAL, OTHER)),
    ]
    async with making(Recording(entries=tuple(entries)), keep_ids=False) as one:
        await one.begin()
        await one.said(Entry(0.0, event=Xid(31, OTHER, pid=4242, process="train.py")))
        await one.said(Entry(0.0, event=Xid(79, "GPU-12345678-9b1d-4a52-8c11-0123456789ab")))
        await one.said(Entry(0.0, uuid=REAL, read={"answer": Answer.SILENT, "problem": words}))
        await one.turn(10.0)
        await one.said(Entry(0.0, away=words))
        await one.turn(10.0)
        text = one.out.getvalue()
        recording = await one.end()
    for secret in ("5a1c", "9999", "9b1d", "16500230", "4242", "train.py"):
        assert secret not in text, secret
    (first,) = (each.facts for each in recording.entries if each.facts is not None)
    assert [gpu.uuid for gpu in first.gpus] == [PLACE.format(3), PLACE.format(5)]
    assert [gpu.serial for gpu in first.gpus] == ["", ""]
    assert [each.uuid for each in first.gpus[0].mig] == ["MIG-00000000-0000-4000-8000-000000000000"]
    assert [each.event for each in recording.entries if each.event is not None] == [
        Xid(31, PLACE.format(5)),
        Xid(79, PLACE.format(1000)),
    ]
    mig = "MIG-00000000-0000-4000-8000-000000000000"
    told = f"the GPU {PLACE.format(3)} with serial ... and its {mig} can't be reached"
    assert [each.away for each in recording.entries if each.away] == [told]
    assert told in [each.read["problem"] for each in recording.entries if each.read and "problem" in each.read]


async def test_numbers_are_kept_where_that_is_wanted() -> None:
    entries = (Entry(0.0, facts=FACTS), *(Entry(0.0, uuid=uuid, read={}) for uuid in (REAL, OTHER)))
    async with making(Recording(entries=entries), keep_ids=True) as one:
        await one.begin()
        await one.said(Entry(0.0, event=Xid(31, REAL, pid=4242)))
        recording = await one.end()
    assert recording.entries[0].facts == FACTS
    assert Xid(31, REAL, pid=4242) in [each.event for each in recording.entries]


def test_a_device_keeps_its_placeholder_when_its_index_changes_and_shares_it_with_none() -> None:
    places = Placeholders()
    places.facts(FACTS)
    changed = [dataclasses.replace(gpu, index=8 - gpu.index) for gpu in FACTS.gpus]
    again = places.facts(NodeFacts(gpus=(*changed, GpuFacts("GPU-new", 3))))
    assert [gpu.uuid for gpu in again.gpus] == [PLACE.format(3), PLACE.format(5), PLACE.format(4)]


def test_what_names_nothing_stays_as_it_is() -> None:
    places = Placeholders()
    places.facts(NodeFacts(gpus=(GpuFacts(REAL, 0, serial="0"),)))
    assert places.text("the GPU with index 0 is lost") == "the GPU with index 0 is lost"
    assert places.event(Xid(13)) == Xid(13)
