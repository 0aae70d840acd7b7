"""`NvmlReader`: the port `GpuReader` over NVIDIA's library.

Threads: one calls `open`, `facts`, `read` and `close`, one after the other; another one may be in `wait`.
Nothing is locked but in `events.py`, which both reach. Where a wait hangs in the driver, closing gives up on it
and leaves the library initialised, since shutting it down under a call would crash the process.

A device is named by its UUID. Its handle, which the driver gives by index, is fetched anew by `facts`; indexes
may change with every restart of the driver.
"""

from __future__ import annotations

from typing import Any

import structlog

from arbora_agent.gpu.nvml.calls import unavailable, verdict, words
from arbora_agent.gpu.nvml.device import Device
from arbora_agent.gpu.nvml.events import Events
from arbora_agent.gpu.nvml.library import Library
from arbora_agent.gpu.port import DeviceNotListed, GpusUnavailable
from arbora_agent.gpu.reading import Answer, GpuEvent, GpuReading, NodeFacts

log = structlog.get_logger(__name__)

SLOW_EVERY = 6


class NvmlReader:
    """The devices of this node."""

    def __init__(self, *, slow_every: int = SLOW_EVERY) -> None:
        """slow_every: every how many readings of a device its NVLinks and the like are asked."""
        self._slow_every = slow_every
        self._library = Library()
        self._nvml: Any = None
        self._events: Events | None = None
        self._devices: dict[str, Device] = {}

    def open(self) -> None:
        """See the port. Events are heard from now on."""
        self.close()
        self._nvml = self._library.open()
        self._events = Events(self._nvml)
        try:
            self.facts()
        except GpusUnavailable:
            self.close()
            raise

    def facts(self) -> NodeFacts:
        """See the port."""
        nvml, events = self._opened()
        try:
            driver = nvml.nvmlSystemGetDriverVersion()
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            raise unavailable(error, "the list of GPUs") from error
        devices: dict[str, Device] = {}
        unreached: list[int] = []
        for index in range(count):
            found = self._device(index)
            if found is None:
                unreached.append(index)
            else:
                devices[found.uuid] = found
        for device in self._devices.values():
            # The driver counts it and can't reach it. Whoever was at this place and is nowhere else, it must be.
            if device.facts.index in unreached and device.uuid not in devices:
                device.handle = None
                devices[device.uuid] = device
        self._devices = devices
        events.watch({each.uuid: each.handle for each in devices.values() if each.handle is not None})
        facts = sorted((each.facts for each in devices.values()), key=lambda each: each.index)
        return NodeFacts(driver, _cuda(nvml), tuple(facts))

    def read(self, uuid: str) -> GpuReading:
        """See the port."""
        _, events = self._opened()
        device = self._devices.get(uuid)
        if device is None:
            raise DeviceNotListed(f"the driver does not list the device {uuid}")
        if device.handle is None:
            problem = self._reach(device)
            if problem is not None:
                return problem
        was_away = device.is_away
        reading = device.read()
        if was_away and not device.is_away:
            events.renew()
        return reading

    def wait(self, seconds: float) -> tuple[GpuEvent, ...]:
        """See the port."""
        events = self._events
        if events is None:
            raise GpusUnavailable("the reader is closed")
        return events.wait(seconds)

    def close(self) -> None:
        """See the port. Takes as long as a wait of `events.py`."""
        events, self._events = self._events, None
        self._nvml = None
        for each in self._devices.values():
            each.handle = None  # handles end with the library; facts are kept, for devices that are lost
        if events is None or events.end():
            self._library.close()
        else:
            self._library.leave()

    def _opened(self) -> tuple[Any, Events]:
        if self._nvml is None or self._events is None:
            raise GpusUnavailable("the reader is closed")
        return self._nvml, self._events

    def _device(self, index: int) -> Device | None:
        """The device at this place with its facts read anew; None if it can't be reached."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = nvml.nvmlDeviceGetUUID(handle)
        except nvml.NVMLError as error:
            verdict(error, f"the GPU with index {index}")
            log.warning("gpu_not_reached", index=index, why=words(error))
            return None
        device = self._devices.get(uuid) or Device(nvml, uuid, slow_every=self._slow_every)
        device.found(handle, index)
        return device

    def _reach(self, device: Device) -> GpuReading | None:
        """Get the handle of a device that could not be reached; why it still can't be, or None if it is back."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(device.facts.index)
            uuid = nvml.nvmlDeviceGetUUID(handle)
        except nvml.NVMLError as error:
            answer = verdict(error, f"the GPU {device.uuid}")
            if answer is not Answer.SILENT:
                device.went_away()
            return GpuReading(device.uuid, answer, words(error) if answer is Answer.SILENT else "")
        if uuid != device.uuid:
            raise DeviceNotListed(f"the driver does not list the device {device.uuid} any more")
        device.found(handle, device.facts.index)
        return None


def _cuda(nvml: Any) -> str:
    """The newest CUDA that the driver can run, such as 12.8.

    The first function asks libcuda, which a container without the capability `compute` has not; the second one
    then tells what NVML itself was made for.
    """
    for name in ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"):
        try:
            version = int(getattr(nvml, name)())
        except nvml.NVMLError:
            continue
        return f"{version // 1000}.{version % 1000 // 10}"
    return ""
