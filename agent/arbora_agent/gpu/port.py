"""The port `GpuReader`: everything the node agent needs of a node's GPU driver.

Adapters: `nvml/` (NVIDIA) and `recorded/` (a recording, played again). The same contract tests
(`tests/contract/gpu_reader.py`) run over both. AMD and Intel belong behind this port as well.

A driver's calls block, sometimes for long, and a broken device can hang them. So the port is synchronous, and who
uses it gives it threads of its own: one that reads, one that waits for events.
"""

from __future__ import annotations

from typing import Protocol

from arbora.errors import ArboraError
from arbora_agent.gpu.reading import GpuEvent, GpuReading, NodeFacts


class GpusUnavailable(ArboraError):
    """There is no driver to read, or it does not answer; the node agent goes on and tries again."""

    reason = "GPUS_UNAVAILABLE"
    retryable = True


class DeviceNotListed(ArboraError):
    """The driver does not list the device (any more); ask for the facts anew."""

    reason = "DEVICE_NOT_LISTED"


class GpuReader(Protocol):
    """One node's devices. `wait` may run on one thread while the other methods run on another one."""

    def open(self) -> None:
        """Reach the driver. Raises GpusUnavailable; it can be called again."""
        ...

    def facts(self) -> NodeFacts:
        """What hardly ever changes, read now. A device that is lost keeps the facts that it was last seen with,
        as long as the driver lists it. Raises GpusUnavailable."""
        ...

    def read(self, uuid: str) -> GpuReading:
        """One device now. What is wrong with the device is in the reading. Raises GpusUnavailable when there is
        no driver any more, DeviceNotListed when it does not know the device."""
        ...

    def wait(self, seconds: float) -> tuple[GpuEvent, ...]:
        """The events that came; empty after `seconds` without any. Raises GpusUnavailable."""
        ...

    def close(self) -> None:
        """Let go of the driver; `wait` ends soon. Can be repeated."""
        ...
