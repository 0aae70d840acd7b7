"""A node's GPUs as they travel and are shown: slow facts and health (`Device`), and what changes (`Values`).

Plain data; the wire is in `wire.py`. None is what a device doesn't offer, and never the same as 0. Units are
those that people read: MiB, watts, degrees Celsius, percent.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum

from arbora.gpus.health import Health


class Use(IntEnum):
    """Whether a pod holds a GPU, and whether that agrees with the device. The numbers are those of the wire."""

    UNKNOWN = 0
    FREE = 1
    HELD = 2
    IDLE = 3
    """Held, and unused for a long time."""
    LEAKED = 4
    """Something runs on it, and no pod holds it."""


@dataclass(frozen=True, slots=True)
class Mig:
    """An instance of a divided device."""

    uuid: str
    profile: str = ""
    gpu_instance: int = 0
    compute_instance: int = 0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What a device has counted."""

    ecc_corrected: int | None = None
    """Since the driver was loaded; so for the next."""
    ecc_uncorrected: int | None = None
    ecc_corrected_aggregate: int | None = None
    ecc_uncorrected_aggregate: int | None = None
    remapped_corrected: int | None = None
    remapped_uncorrected: int | None = None
    pcie_replays: int | None = None
    nvlink_errors: int | None = None
    xids: int = 0
    """Error codes that its agent has heard, those of applications too."""


NO_COUNTERS = Counters()


@dataclass(frozen=True, slots=True)
class Holder:
    """A pod that holds a device, or one of several that may."""

    namespace: str
    pod: str
    workload: str = ""
    """Name of the workload that it belongs to; empty: none of ours."""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU but for what changes all the time."""

    uuid: str
    index: int
    name: str = ""
    serial: str = ""
    pci_bus_id: str = ""
    memory_bytes: int | None = None
    compute_capability: str = ""
    architecture: str = ""
    mig_enabled: bool = False
    mig: tuple[Mig, ...] = ()
    health: Health = Health.HEALTHY
    reason: str = ""
    health_for: float = 0.0
    """Seconds, when this was made."""
    counters: Counters = NO_COUNTERS
    last_xid: int | None = None
    use: Use = Use.UNKNOWN
    holders: tuple[Holder, ...] = ()

    @property
    def product(self) -> str:
        """The name as GPU feature discovery writes it into labels."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Node:
    """The GPUs of one node."""

    driver: str = ""
    cuda: str = ""
    devices: tuple[Device, ...] = ()
    trouble: str = ""
    """Why devices can't be read; empty: they are."""
    silent: bool = False
    """Its agent is not heard of; this is what it said last."""
    idle: int = 0
    """Devices that are held and unused, where it is not known which; so for the next."""
    leaked: int = 0
    holders_known: bool = False
    """Its agent knows which pods hold which devices."""

    @property
    def layout(self) -> int:
        """Names the order of the devices, in 32 bits, so that values are never read as another device's."""
        return zlib.crc32("\n".join(each.uuid for each in self.devices).encode())


@dataclass(frozen=True, slots=True)
class Values:
    """What changes all the time of one device."""

    utilization: int | None = None
    memory_utilization: int | None = None
    memory_used_mib: int | None = None
    temperature: int | None = None
    memory_temperature: int | None = None
    power: int | None = None
    sm_clock: int | None = None
    memory_clock: int | None = None
    processes: int | None = None
    throttle: int | None = None
    """Why it is held back: nvmlClocksEventReasons without idleness."""
    mig_memory_used_mib: tuple[int, ...] = ()


NOTHING = Values()
"""Nothing is known."""
