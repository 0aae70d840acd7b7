"""`RecordedReader`: the port `GpuReader` over a recording, at the speed at which it was made.

Time begins with the first `open`. After its end a recording stays as it is, or begins again. `happen` adds what
is to be said now, for tests and benchmarks that choose the moment of a fault themselves.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from arbora_agent.gpu.port import DeviceNotListed, GpusUnavailable
from arbora_agent.gpu.reading import GpuEvent, GpuReading, NodeFacts
from arbora_agent.gpu.recorded.form import Entry, Recording


class RecordedReader:
    """Plays one recording. Its methods may be called from several threads."""

    def __init__(
        self, recording: Recording, *, again: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """again: begin anew after the end. clock: seconds, never going back."""
        self._recording = recording
        self._again = again and recording.seconds > 0
        self._clock = clock
        self._condition = threading.Condition()
        self._began: float | None = None
        self._next = 0
        self._facts = NodeFacts()
        self._readings: dict[str, GpuReading] = {}
        self._events: deque[GpuEvent] = deque()
        self._away = ""
        self._open = False

    def open(self) -> None:
        """See the port."""
        with self._condition:
            if self._began is None:
                self._began = self._clock()
            self._open = True
            self._catch_up()
            self._check()

    def facts(self) -> NodeFacts:
        """See the port."""
        with self._condition:
            self._catch_up()
            self._check()
            return self._facts

    def read(self, uuid: str) -> GpuReading:
        """See the port."""
        with self._condition:
            self._catch_up()
            self._check()
            found = self._readings.get(uuid)
            if found is None or all(each.uuid != uuid for each in self._facts.gpus):
                raise DeviceNotListed(f"the driver does not list the device {uuid}")
            return found

    def wait(self, seconds: float) -> tuple[GpuEvent, ...]:
        """See the port."""
        end = self._clock() + seconds
        with self._condition:
            while True:
                self._catch_up()
                self._check()
                if self._events:
                    events = tuple(self._events)
                    self._events.clear()
                    return events
                left = end - self._clock()
                if left <= 0:
                    return ()
                due = self._due()
                self._condition.wait(left if due is None else min(left, max(0.0, due)))

    def close(self) -> None:
        """See the port."""
        with self._condition:
            self._open = False
            self._condition.notify_all()

    def happen(self, *entries: Entry) -> None:
        """Say this now, whatever time it names."""
        with self._condition:
            for each in entries:
                self._take(each)
            self._condition.notify_all()

    def _due(self) -> float | None:
        """Seconds until something is said, or None."""
        if self._began is None or self._next >= len(self._recording.entries):
            return None
        return self._began + self._recording.entries[self._next].at - self._clock()

    def _catch_up(self) -> None:
        """Say all that is due by now."""
        while (due := self._due()) is not None and due <= 0:
            self._take(self._recording.entries[self._next])
            self._next += 1
            if self._next >= len(self._recording.entries) and self._again:
                assert self._began is not None
                self._began += self._recording.seconds
                self._next = 0

    def _take(self, entry: Entry) -> None:
        if entry.facts is not None:
            self._facts = entry.facts
        elif entry.read is not None:
            before = self._readings.get(entry.uuid) or GpuReading(entry.uuid)
            changes: dict[str, Any] = dict(entry.read)
            self._readings[entry.uuid] = dataclasses.replace(before, **changes)
        elif entry.event is not None:
            self._events.append(entry.event)
        else:
            self._away = entry.away or ""

    def _check(self) -> None:
        if not self._open:
            raise GpusUnavailable("the reader is closed")
        if self._away:
            raise GpusUnavailable(self._away)
