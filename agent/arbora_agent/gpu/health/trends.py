"""What several readings of one GPU show together: heat that lasts, errors that grow, work that was done.

Thresholds are our judgement where nothing else is said. Pure: times come in, in seconds of any clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from arbora.gpus.health import Health
from arbora_agent.gpu.health.finding import GRACE, Ends, Finding
from arbora_agent.gpu.reading import Answer, GpuReading

WINDOW = 600.0
"""Seconds over which growth is looked at."""
STEP = 30.0
"""Seconds between the readings of a window that are kept."""
THROTTLED_SECONDS = 60.0
"""Held back for heat or power brake, within a window: a tenth of it."""
THROTTLE_MASK = 0x8 | 0x40 | 0x80
"""Hardware slowdown, heat, power brake; for drivers that count no time."""
THROTTLED_SHARE = 0.1
"""Of the readings of a window."""
PCIE_REPLAYS = 80
"""Packets sent again within a window."""
NVLINK_ERRORS = 60
"""Within a window."""
SILENT_READINGS = 3
"""In a row."""
IDLE_SECONDS = 60.0
"""Without work before a GPU whose memory waits for a reset is drained."""
CALM = 0.5
"""What has grown less than this part of its threshold is over."""


class Window:
    """How much a counter has grown lately."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque()

    def grown(self, value: float, now: float) -> float:
        """Note `value`; how much it is above that of a window ago. A counter that went back began anew."""
        if self._kept and value < self._kept[-1][1]:
            self._kept.clear()
        while self._kept and self._kept[0][0] < now - WINDOW:
            self._kept.popleft()
        grown = value - self._kept[0][1] if self._kept else 0.0
        if not self._kept or now - self._kept[-1][0] >= STEP:
            self._kept.append((now, value))
        return grown


class Trends:
    """Everything of one GPU that a single reading does not show."""

    def __init__(self) -> None:
        self._heat, self._samples, self._slow = Window(), Window(), Window()
        self._replays, self._links = Window(), Window()
        self._seen = 0
        self._slow_seen = 0
        self._most_links = 0
        self._silent = 0
        self._last: GpuReading | None = None
        self._last_at = 0.0
        self._idle_since: float | None = None
        self.reset_at: float | None = None
        """When a reading last showed that the device or its driver had begun anew."""
        self.uncorrected_at: float | None = None
        """When a reading last showed more uncorrected errors than the one before."""
        self.worked = 0.0
        """Seconds of work that were seen, in all."""

    def shown(self, reading: GpuReading, siblings_links: int, now: float) -> Iterator[tuple[str, Finding | None]]:
        """By code, as `conditions.shown`. siblings_links: the most NVLinks of a like device of the node."""
        if reading.answer is Answer.SILENT:
            self._silent += 1
            if self._silent >= SILENT_READINGS:
                words = f"the driver can't read the GPU: {reading.problem or 'no reason given'}"
                yield "unread", Finding("unread", Health.DRAINING, words, now, Ends.READING)
            return
        self._silent = 0
        yield "unread", None
        if reading.answer is not Answer.ANSWERS:
            self._last = None
            self._idle_since = None
            return
        self._compare(reading, now)
        yield from self._remap(reading, now)
        yield from self._heat_found(reading, now)
        yield from self._growth(
            "pcie-replays",
            reading.pcie_replays,
            self._replays,
            PCIE_REPLAYS,
            "packets on its PCIe link are sent again and again",
            now,
        )
        yield from self._growth(
            "nvlink-errors", reading.nvlink_errors, self._links, NVLINK_ERRORS, "errors on NVLink grow", now
        )
        if reading.nvlinks_active is not None:
            self._most_links = max(self._most_links, reading.nvlinks_active)
            expected = max(self._most_links, siblings_links)
            if reading.nvlinks_active < expected:
                words = f"{reading.nvlinks_active} of {expected} NVLinks are up"
                yield "nvlink-down", Finding("nvlink-down", Health.DEGRADED, words, now, Ends.READING)
            else:
                yield "nvlink-down", None
        self._last, self._last_at = reading, now

    def uncontained(self, contained_at: float | None, now: float) -> bool:
        """Whether uncorrected errors were seen and no code 94 came with them: the program alone did not suffer.

        True once for each time; before the grace is over nothing is said.
        """
        at = self.uncorrected_at
        if at is None:
            return False
        if contained_at is not None and contained_at >= at - WINDOW / 10:
            self.uncorrected_at = None
            return False
        if now < at + GRACE:
            return False
        self.uncorrected_at = None
        return True

    def _compare(self, reading: GpuReading, now: float) -> None:
        """With the reading before: what began anew, what grew, whether work was done."""
        busy = is_busy(reading)
        self._idle_since = None if busy else (now if self._idle_since is None else self._idle_since)
        last = self._last
        if last is None:
            return
        if busy and is_busy(last):
            self.worked += min(now - self._last_at, STEP)
        for name in ("ecc_uncorrected", "ecc_corrected", "energy_mj"):
            before, after = getattr(last, name), getattr(reading, name)
            if before is not None and after is not None and after < before:
                self.reset_at = now
        before, after = last.ecc_uncorrected, reading.ecc_uncorrected
        if before is not None and after is not None and after > before:
            self.uncorrected_at = now

    def _remap(self, reading: GpuReading, now: float) -> Iterator[tuple[str, Finding | None]]:
        """Memory that waits for a reset: new work may start (NVIDIA), so it is drained only once nothing runs."""
        if reading.remap_pending is None:
            return
        if not reading.remap_pending:
            yield "remap-pending", None
        elif self._idle_since is not None and now - self._idle_since >= IDLE_SECONDS:
            words = "memory is to be replaced by a reset, and nothing runs: reset it now"
            yield "remap-pending", Finding("remap-pending", Health.DRAINING, words, now, Ends.READING)
        else:
            words = "memory is to be replaced by the next reset"
            yield "remap-pending", Finding("remap-pending", Health.DEGRADED, words, now, Ends.READING)

    def _heat_found(self, reading: GpuReading, now: float) -> Iterator[tuple[str, Finding | None]]:
        if reading.throttled_heat_ns is not None or reading.throttled_brake_ns is not None:
            seconds = ((reading.throttled_heat_ns or 0) + (reading.throttled_brake_ns or 0)) / 1e9
            share = self._heat.grown(seconds, now) / THROTTLED_SECONDS
        elif reading.throttle_reasons is not None:
            self._seen += 1
            self._slow_seen += bool(reading.throttle_reasons & THROTTLE_MASK)
            of, slow = self._samples.grown(self._seen, now), self._slow.grown(self._slow_seen, now)
            share = slow / of / THROTTLED_SHARE if of >= WINDOW / STEP else 0.0
        else:
            return
        words = "held back by heat or power brake for more than a tenth of ten minutes"
        if share > 1.0:
            yield "throttled", Finding("throttled", Health.DEGRADED, words, now, Ends.READING)
        elif share < CALM:
            yield "throttled", None

    def _growth(
        self, code: str, value: int | None, window: Window, most: int, words: str, now: float
    ) -> Iterator[tuple[str, Finding | None]]:
        if value is None:
            return
        grown = window.grown(value, now)
        if grown >= most:
            yield code, Finding(code, Health.DEGRADED, words, now, Ends.READING)
        elif grown < CALM * most:
            yield code, None


def is_busy(reading: GpuReading) -> bool:
    """Whether something ran: by utilization or, where the device does not tell it, by the processes on it."""
    if reading.utilization is not None:
        return reading.utilization > 0
    return bool(reading.processes)
