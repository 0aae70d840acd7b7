"""When what is read of the driver, and that whatever it means is told at once.

    open -> facts -> (the kernel log, once) -> every device, every `interval` ...
    an event -> told, then the device is read at once
    no driver any more -> said so, closed, opened again after a pause

Reading and waiting for events have a thread each (`worker.py`). What a reading means is decided in `watch.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from arbora.clock import Clock, wait_for
from arbora.errors import ArboraError
from arbora.gpus.model import Node, Values
from arbora_agent.gpu.port import DeviceNotListed, GpuReader, GpusUnavailable
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading, Xid
from arbora_agent.node_agent.watch import NodeWatch, Transition
from arbora_agent.node_agent.worker import Hanging, Worker

log = structlog.get_logger(__name__)

CALL_SECONDS = 30.0
"""A driver that needs longer for one device hangs."""
WAIT_SECONDS = 1.0
"""One wait for events; a stop takes at most so long."""
CLOSE_SECONDS = 6.0
"""As the wait for events has to end first."""
REOPEN_SECONDS = 15.0
"""Between two attempts to reach a driver that is not there."""
FACTS_SECONDS = 300.0
"""Facts are read anew so often, besides when something says that they changed."""

ReadLog = Callable[[Sequence[GpuFacts]], tuple[Xid, ...]]
"""Error codes of the kernel log for these devices. Blocks; raises ArboraError where it can't be read."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is news; None: nothing of that kind."""

    node: Node | None = None
    values: tuple[int, tuple[Values, ...]] | None = None


class Collector:
    """Reads one node's devices until cancelled."""

    def __init__(
        self,
        reader: GpuReader,
        watch: NodeWatch,
        tell: Callable[[Told], None],
        clock: Clock,
        *,
        interval: float = 10.0,
        kernel_log: ReadLog | None = None,
        call_seconds: float = CALL_SECONDS,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """tell: hears what is news, on the loop. kernel_log: what was there before this agent; None: not read.
        call_seconds: a driver that needs longer for one device hangs. looked: hears that something was read or
        heard, news or not, on the loop."""
        self._reader = reader
        self._watch = watch
        self._tell = tell
        self._clock = clock
        self._interval = interval
        self._kernel_log = kernel_log
        self._patience = call_seconds
        self._looked = looked
        self._reading = Worker("gpu-reader")
        self._listening = Worker("gpu-events")
        self._opened = asyncio.Event()
        self._wake = asyncio.Event()
        self._asked: set[str] = set()
        self._facts_asked = False
        self._facts_at = 0.0
        self._was_open = False
        self._was_away = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._listen())
        finally:
            await self._close()
            await self._reading.close()
            await self._listening.close(2 * WAIT_SECONDS)

    # reading

    async def _read(self) -> None:
        while True:
            try:
                await self._open()
                await self._read_while_open()
            except GpusUnavailable as error:
                self._opened.clear()
                await self._close()
                self._trouble(error)
            except Hanging as error:
                self._opened.clear()
                self._trouble(error)
            await self._clock.wait_until(self._clock.monotonic() + REOPEN_SECONDS)

    async def _open(self) -> None:
        try:
            await self._reading.call(self._reader.open, self._patience, "being opened")
        except GpusUnavailable:
            self._was_away = self._was_open
            raise
        if self._was_away:
            self._watch.driver_loaded(self._clock.monotonic())
        await self._list()
        if not self._was_open:
            await self._look_back()
        self._was_open, self._was_away = True, False
        self._watch.trouble("")
        self._opened.set()

    async def _close(self) -> None:
        """Let go of the driver, unless it hangs."""
        try:
            await self._reading.call(self._reader.close, CLOSE_SECONDS, "being closed")
        except Hanging as error:
            log.warning("gpus_not_closed", why=str(error))

    async def _list(self) -> None:
        facts = await self._reading.call(self._reader.facts, self._patience, "the list of devices")
        now = self._clock.monotonic()
        self._facts_at = now
        self._facts_asked = False
        self._log(self._watch.listed(facts, now))

    async def _look_back(self) -> None:
        """What was reported before this agent was there; registering for events does not bring it back."""
        if self._kernel_log is None:
            return
        facts = [each.facts for each in self._watch.devices]
        read = self._kernel_log
        try:
            xids = await self._reading.call(lambda: read(facts), self._patience, "the kernel log")
        except Hanging:
            raise
        except ArboraError as error:
            log.info("kernel_log_unread", why=str(error), hint=error.hint)
            return
        now = self._clock.monotonic()
        for xid in xids:
            self._watch.heard(xid, now)
        log.info("kernel_log_read", xids=len(xids))

    async def _read_while_open(self) -> None:
        due = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now >= due:
                due = now + self._interval
                await self._read_devices(each.facts.uuid for each in self._watch.devices if each.listed)
            else:
                asked, self._asked = self._asked, set()
                await self._read_devices(asked | self._hurried(now))
            if self._facts_asked or self._clock.monotonic() >= self._facts_at + FACTS_SECONDS:
                await self._list()
            self.tell()
            hurry = self._watch.next_look()
            self._wake.clear()
            if not self._asked:
                await wait_for(self._wake, self._clock, due if hurry is None else min(due, hurry))

    def _hurried(self, now: float) -> set[str]:
        """Devices that should be read sooner than the others."""
        looks = ((each.facts.uuid, each.machine.next_look) for each in self._watch.devices)
        return {uuid for uuid, look in looks if look is not None and look <= now}

    async def _read_devices(self, uuids: Iterable[str]) -> None:
        for uuid in list(uuids):
            known = self._watch.find(uuid)
            if known is None or not known.listed:
                continue
            try:
                reading = await self._reading.call(
                    lambda uuid=uuid: self._reader.read(uuid),  # type: ignore[misc]
                    self._patience,
                    f"reading {uuid}",
                )
            except Hanging as error:
                self._log(self._watch.read(GpuReading(uuid, Answer.SILENT, error.message), self._now()))
                raise
            except DeviceNotListed:
                self._facts_asked = True
                continue
            before = known.machine.verdict.health
            self._log(self._watch.read(reading, self._now()))
            if known.machine.verdict.health is not before:
                self.tell()  # health is told at once, before the other devices are read

    # events

    async def _listen(self) -> None:
        while True:
            await self._opened.wait()
            try:
                events = await self._listening.call(
                    lambda: self._reader.wait(WAIT_SECONDS), self._patience, "waiting for events"
                )
            except (GpusUnavailable, Hanging) as error:
                log.info("gpu_events_unavailable", why=str(error))
                self._wake.set()  # the reader finds out what is wrong
                await self._clock.wait_until(self._now() + WAIT_SECONDS)
                continue
            for event in events:
                if isinstance(event, Xid):
                    log.warning("xid", code=event.code, gpu=event.uuid, pid=event.pid)
                    self._log(self._watch.heard(event, self._now()))
                else:
                    self._facts_asked = True
                self._asked.add(event.uuid)
            if events:
                self.tell()
                self._wake.set()

    # telling

    def tell(self) -> None:
        """Tell what is news."""
        self._looked()
        told = Told(self._watch.node(self._now()), self._watch.values())
        if told.node is not None or told.values is not None:
            self._tell(told)

    def _trouble(self, error: ArboraError) -> None:
        sentence = f"{error}. {error.hint}" if error.hint else str(error)
        self._watch.trouble(sentence)
        log.warning("gpus_unavailable", why=str(error), hint=error.hint, retry_in=REOPEN_SECONDS)
        self.tell()

    def _log(self, transitions: Iterable[Transition]) -> None:
        for each in transitions:
            log.warning(
                "gpu_health",
                gpu=each.device.uuid,
                index=each.device.index,
                before=each.before.health.word,
                now=each.after.health.word,
                why=each.after.reason,
            )

    def _now(self) -> float:
        return self._clock.monotonic()
