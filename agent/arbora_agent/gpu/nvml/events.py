"""Waiting for what the driver reports: error codes, changes of a device's division, of its recovery action.

Two threads come here. The one that reads calls `watch` after each listing, `renew` and, last, `end`; the other
one calls `wait`, and nothing else. One condition guards all fields and is never held during the driver's own
wait, which lasts SLICE at most: so `watch` is not kept waiting, and `end` frees the set of events when nobody
waits on it. A wait that hangs in the driver is left behind with its set.

A device that is lost can make every wait fail at once, and the driver does not say which one it is. Then every
device is reported as changed, and the set is made anew without those that can't be watched; if that happens again
soon, no sooner than after PAUSE.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from arbora_agent.gpu.nvml.calls import NO_DRIVER, Code, address, unavailable, words
from arbora_agent.gpu.port import GpusUnavailable
from arbora_agent.gpu.reading import Changed, GpuEvent, Xid

log = structlog.get_logger(__name__)

SLICE = 0.5
"""Seconds of one wait in the driver."""
PAUSE = 5.0
"""Seconds between two sets of events that failed."""
HANGS = 5.0
"""Seconds that an end waits for a wait."""
AT_ONCE = 64
"""Events told by one wait."""

XID = 0x8
DOUBLE_BIT_ECC = 0x2
MIG_CHANGED = 0x100
DRAM_RETIREMENT = 0x400
DRAM_RETIREMENT_FAILED = 0x800
UNAVAILABLE = 0x4000
RECOVERY_ACTION = 0x8000
WANTED = (
    XID | DOUBLE_BIT_ECC | MIG_CHANGED | DRAM_RETIREMENT | DRAM_RETIREMENT_FAILED | UNAVAILABLE | RECOVERY_ACTION
)
"""nvmlEventType."""
NO_INSTANCE = 0xFFFFFFFF


class Events:
    """What one initialisation of the library reports."""

    def __init__(self, nvml: Any, *, hangs: float = HANGS) -> None:
        """nvml: the module pynvml, initialised until `end` has returned True. hangs: seconds, see HANGS."""
        self._nvml = nvml
        self._hangs = hangs
        self._condition = threading.Condition()
        self._devices: dict[str, Any] = {}
        self._set: Any = None
        self._watched: set[str] = set()
        self._refused: set[str] = set()
        self._broken = False
        self._made_anew_at = float("-inf")
        self._retry_at = 0.0
        self._waiting = False
        self._ended = False

    def watch(self, devices: Mapping[str, Any]) -> None:
        """These are all devices, with their handles by UUID. Those that can't be watched are tried again the next
        time. Raises GpusUnavailable."""
        with self._condition:
            self._devices = dict(devices)
            if not self._broken:
                self._register()
            self._condition.notify_all()

    def renew(self) -> None:
        """A device is back. The next wait registers anew, since what was registered may not outlive a reset."""
        with self._condition:
            self._broken = True
            self._retry_at = max(self._retry_at, time.monotonic())

    def wait(self, seconds: float) -> tuple[GpuEvent, ...]:
        """See the port."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            events = self._wait_once(max(0.0, min(left, SLICE)))
            if events or time.monotonic() >= end:
                return events

    def end(self) -> bool:
        """Wait until nobody waits, and free everything. False: a wait hangs in the driver."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()
            if not self._condition.wait_for(lambda: not self._waiting, self._hangs):
                log.warning("gpu_events_hang", seconds=self._hangs)
                return False
            self._free()
            return True

    def _wait_once(self, seconds: float) -> tuple[GpuEvent, ...]:
        with self._condition:
            self._check()
            if not self._ready(seconds):
                return ()
            self._waiting = True
            event_set = self._set
        try:
            return self._told(event_set, seconds)
        finally:
            with self._condition:
                self._waiting = False
                self._condition.notify_all()

    def _ready(self, seconds: float) -> bool:
        """Whether there is a set to wait on; if not, so many seconds have passed, or something has changed."""
        if self._broken:
            pause = self._retry_at - time.monotonic()
            if pause > 0:
                self._condition.wait(min(pause, seconds))
                self._check()
                return False
            self._make_anew()
        if not self._watched:
            self._condition.wait(seconds)
            self._check()
            return False
        return True

    def _told(self, event_set: Any, seconds: float) -> tuple[GpuEvent, ...]:
        """Wait in the driver, without the condition."""
        began = time.monotonic()
        told: list[GpuEvent] = []
        try:
            told += self._events(self._nvml.nvmlEventSetWait_v2(event_set, int(seconds * 1000)))
            while len(told) < AT_ONCE:
                told += self._events(self._nvml.nvmlEventSetWait_v2(event_set, 0))
        except self._nvml.NVMLError as error:
            if error.value == Code.TIMEOUT:
                if not told:
                    self._rest(began + seconds)
            elif error.value in NO_DRIVER:
                if not told:
                    raise unavailable(error, "waiting for events of the GPUs") from error
            else:
                log.warning("gpu_events_failed", why=words(error))
                told += self._broke()
        return tuple(told)

    def _rest(self, until: float) -> None:
        """NVML may come back from a wait early and empty-handed; called again at once it would spin."""
        with self._condition:
            while (left := until - time.monotonic()) > 0 and not self._ended:
                self._condition.wait(left)

    def _events(self, data: Any) -> list[GpuEvent]:
        uuid = self._uuid(data.device)
        if data.eventType & XID:
            instance = None if data.gpuInstanceId == NO_INSTANCE else int(data.gpuInstanceId)
            return [Xid(int(data.eventData), uuid, gpu_instance=instance)]
        return [Changed(uuid)] if uuid else self._all_changed()

    def _uuid(self, handle: Any) -> str:
        with self._condition:
            where = address(handle)
            for uuid, each in self._devices.items():
                if address(each) == where:
                    return uuid
        try:
            return str(self._nvml.nvmlDeviceGetUUID(handle))
        except self._nvml.NVMLError as error:
            log.warning("gpu_event_of_unknown_device", why=words(error))
            return ""

    def _broke(self) -> list[GpuEvent]:
        """The set of events fails. It is made anew at once, but later if it was made anew just before."""
        with self._condition:
            now = time.monotonic()
            self._broken = True
            self._retry_at = now if now - self._made_anew_at > PAUSE else now + PAUSE
            return self._all_changed()

    def _all_changed(self) -> list[GpuEvent]:
        with self._condition:
            return [Changed(uuid) for uuid in self._devices]

    # with the condition held

    def _check(self) -> None:
        if self._ended:
            raise GpusUnavailable("the reader is closed")

    def _make_anew(self) -> None:
        self._free()
        self._made_anew_at = time.monotonic()
        self._broken = False
        self._register()

    def _register(self) -> None:
        if self._set is None:
            try:
                self._set = self._nvml.nvmlEventSetCreate()
            except self._nvml.NVMLError as error:
                if error.value in NO_DRIVER:
                    raise unavailable(error, "events of the GPUs") from error
                log.warning("gpu_events_failed", why=words(error))
                return
        for uuid, handle in self._devices.items():
            if uuid not in self._watched and self._registered(uuid, handle):
                self._watched.add(uuid)

    def _registered(self, uuid: str, handle: Any) -> bool:
        """Whether it is now watched. A device that can't be must not keep the others from being so."""
        try:
            supported = self._nvml.nvmlDeviceGetSupportedEventTypes(handle) & WANTED
            if not supported:
                return False
            try:
                self._nvml.nvmlDeviceRegisterEvents(handle, supported, self._set)
            except self._nvml.NVMLError:
                # Should it refuse one of the newer kinds, error codes are still worth having.
                self._nvml.nvmlDeviceRegisterEvents(handle, supported & XID, self._set)
        except self._nvml.NVMLError as error:
            if error.value in NO_DRIVER:
                raise unavailable(error, "events of the GPUs") from error
            if uuid not in self._refused:  # said once: it is tried again all the time
                log.warning("gpu_not_watched", gpu=uuid, why=words(error))
            self._refused.add(uuid)
            return False
        self._refused.discard(uuid)
        return True

    def _free(self) -> None:
        event_set, self._set = self._set, None
        self._watched = set()
        if event_set is not None:
            with suppress(self._nvml.NVMLError):  # of a driver that is gone there is nothing to free
                self._nvml.nvmlEventSetFree(event_set)
