"""Makes a recording of any `GpuReader`: what `arbora gpu record` runs.

    open, facts -> the first lines -> every device, every `interval`: what has changed since the line before
                                   -> events as they come, each device that one names at once
    no driver any more -> a line that says so -> tried again at the next interval

Each line is written as soon as it is known, so that the file is whole up to wherever it ends. Reading and waiting
for events have a thread each, and every call a deadline; a device that hangs is recorded as silent. Whether a
device said all of this is not for the caller to say: only what NVIDIA's library answers counts as that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

import structlog

from arbora.clock import Clock, LoopClock, wait_for
from arbora.errors import StorageFailed
from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.port import DeviceNotListed, GpuReader, GpusUnavailable
from arbora_agent.gpu.reading import Answer, Changed, GpuEvent, GpuReading, NodeFacts
from arbora_agent.gpu.recorded.form import Entry, changed_fields, entry_line, head_line
from arbora_agent.gpu.recorded.placeholders import Placeholders
from arbora_agent.node_agent.worker import Hanging, Worker

log = structlog.get_logger(__name__)

CALL_SECONDS = 30.0
"""A driver that needs longer for one call hangs."""
WAIT_SECONDS = 1.0
"""One wait for events."""
CLOSE_SECONDS = 6.0
"""As the wait for events has to end first."""
FACTS_SECONDS = 60.0
"""Facts are read anew so often, besides when something says that they changed."""


@dataclass(slots=True)
class Progress:
    """How far a recording is."""

    seconds: float = 0.0
    lines: int = 0
    events: int = 0
    gpus: int = 0


class Recorder:
    """Records one reader, once. A context: the reader is open inside, unless it can't be opened."""

    def __init__(
        self,
        reader: GpuReader,
        *,
        interval: float = 10.0,
        keep_ids: bool = False,
        clock: Clock | None = None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """interval: seconds between two readings of a device. keep_ids: UUIDs and such as the driver has them."""
        self._reader = reader
        self._interval = interval
        self._placeholders = None if keep_ids else Placeholders()
        self._clock = clock or LoopClock()
        self._patience = call_seconds
        self._reading = Worker("gpu-reader")
        self._listening = Worker("gpu-events")
        self._opened = asyncio.Event()
        self._wake = asyncio.Event()
        self._out: TextIO | None = None
        self._began = 0.0
        self._listed = NodeFacts()
        self._written = NodeFacts()
        self._facts_at = 0.0
        self._last: dict[str, GpuReading] = {}
        self._asked: set[str] = set()
        self._told_away: str | None = None
        self._ended_at = -1.0
        self.progress = Progress()

    async def __aenter__(self) -> Self:
        """Raises GpusUnavailable, Hanging."""
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def real(self) -> bool:
        """Whether devices say what is recorded."""
        return isinstance(self._reader, NvmlReader)

    async def record(
        self,
        out: TextIO,
        seconds: float,
        stop: asyncio.Event,
        about: str = "",
        seen: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Write so many seconds to `out`, or until `stop` is set.

        about: what is recorded; empty: the devices. seen: called when `progress` has changed.
        Raises StorageFailed if it can't be written; what was written before is whole.
        """
        self._out = out
        self._began = self._clock.monotonic()
        self._line(head_line(about or described(self._listed), self.real))
        self._take_facts(self._listed)
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._listen()), group.create_task(self._heed(stop))]
                await self._read_until(self._began + seconds, stop, seen)
                for task in beside:
                    task.cancel()
        except BaseExceptionGroup as failed:  # of writing, here or there
            raise failed.exceptions[0] from failed
        self._end()
        return self.progress

    # reading

    async def _open(self) -> None:
        await self._reading.call(self._reader.open, self._patience, "being opened")
        self._listed = await self._reading.call(self._reader.facts, self._patience, "the list of devices")
        self._facts_at = self._clock.monotonic()
        self._opened.set()

    async def _let_go(self) -> None:
        try:
            await self._reading.call(self._reader.close, CLOSE_SECONDS, "being closed")
        except Hanging as error:
            log.warning("gpus_not_closed", why=str(error))

    async def _close(self) -> None:
        await self._let_go()
        await self._reading.close()
        await self._listening.close(2 * WAIT_SECONDS)

    async def _heed(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _read_until(self, end: float, stop: asyncio.Event, seen: Callable[[], None]) -> None:
        due = self._began
        while True:
            asked, self._asked = self._asked, set()
            try:
                if self._clock.monotonic() >= due:
                    due = max(due, self._clock.monotonic() - self._interval) + self._interval
                    await self._reach()
                    await self._read(gpu.uuid for gpu in self._listed.gpus)
                elif asked and self._opened.is_set():
                    await self._reach()
                    await self._read(asked)
            except GpusUnavailable as error:
                await self._lost(error)
            except Hanging as error:
                log.warning("gpus_hang", why=str(error))
            self.progress.seconds = self._clock.monotonic() - self._began
            seen()
            if stop.is_set() or self._clock.monotonic() >= end:
                return
            self._wake.clear()
            if not self._asked and not stop.is_set():
                await wait_for(self._wake, self._clock, min(due, end))

    async def _reach(self) -> None:
        """A driver that was away is opened again; facts that are old are read anew."""
        if not self._opened.is_set():
            await self._open()
            self._write(Entry(self._now(), away=""))
            self._told_away = None
            self._take_facts(self._listed)
        elif self._clock.monotonic() >= self._facts_at + FACTS_SECONDS:
            await self._list()

    async def _list(self) -> None:
        self._listed = await self._reading.call(self._reader.facts, self._patience, "the list of devices")
        self._facts_at = self._clock.monotonic()
        self._take_facts(self._listed)

    async def _read(self, uuids: Iterable[str]) -> None:
        listed = {gpu.uuid for gpu in self._listed.gpus}
        for uuid in sorted(listed & set(uuids), key=[gpu.uuid for gpu in self._listed.gpus].index):
            try:
                reading = await self._reading.call(
                    lambda uuid=uuid: self._reader.read(uuid),  # type: ignore[misc]
                    self._patience,
                    f"reading {uuid}",
                )
            except DeviceNotListed:
                self._facts_at = float("-inf")
                continue
            except Hanging as error:
                self._take_reading(GpuReading(uuid, Answer.SILENT, error.message))
                raise
            self._take_reading(reading)

    async def _lost(self, error: GpusUnavailable) -> None:
        """There is no driver any more."""
        self._opened.clear()
        words = self._placeholders.text(str(error)) if self._placeholders is not None else str(error)
        if words != self._told_away:
            self._told_away = words
            self._write(Entry(self._now(), away=words))
        await self._let_go()

    # events

    async def _listen(self) -> None:
        while True:
            await self._opened.wait()
            try:
                events = await self._listening.call(
                    lambda: self._reader.wait(WAIT_SECONDS), self._patience, "waiting for events"
                )
            except (GpusUnavailable, Hanging):
                # Who reads finds out what is wrong.
                await self._clock.wait_until(self._clock.monotonic() + WAIT_SECONDS)
                continue
            for event in events:
                self._take_event(event)
            if events:
                self._wake.set()

    # writing

    def _take_facts(self, facts: NodeFacts) -> None:
        self.progress.gpus = len(facts.gpus)
        shown = self._placeholders.facts(facts) if self._placeholders is not None else facts
        if shown != self._written:
            self._written = shown
            self._write(Entry(self._now(), facts=shown))

    def _take_reading(self, reading: GpuReading) -> None:
        shown = self._placeholders.reading(reading) if self._placeholders is not None else reading
        before = self._last.get(shown.uuid)
        changes = changed_fields(before, shown)
        self._last[shown.uuid] = shown
        if changes or before is None:
            self._write(Entry(self._now(), uuid=shown.uuid, read=changes))

    def _take_event(self, event: GpuEvent) -> None:
        self.progress.events += 1
        self._asked.add(event.uuid)
        if isinstance(event, Changed):
            self._facts_at = float("-inf")
        shown = self._placeholders.event(event) if self._placeholders is not None else event
        self._write(Entry(self._now(), event=shown))

    def _end(self) -> None:
        """A last line, which changes nothing, so that the recording lasts as long as it was made."""
        if self._last and self._now() > self._ended_at:
            self._write(Entry(self._now(), uuid=next(iter(self._last)), read={}))

    def _now(self) -> float:
        return self._clock.monotonic() - self._began

    def _write(self, entry: Entry) -> None:
        self._ended_at = entry.at
        self._line(entry_line(entry))

    def _line(self, line: str) -> None:
        assert self._out is not None
        try:
            self._out.write(line)
            self._out.flush()
        except OSError as error:
            raise StorageFailed(f"the recording can't be written: {error.strerror}") from error
        self.progress.lines += 1


def described(facts: NodeFacts) -> str:
    """`8 NVIDIA H100 80GB HBM3, driver 570.86.10`."""
    names = Counter(gpu.name or "GPU" for gpu in facts.gpus)
    gpus = ", ".join(f"{count} {name}" for name, count in names.items()) or "no GPUs"
    return f"{gpus}, driver {facts.driver}" if facts.driver else gpus
