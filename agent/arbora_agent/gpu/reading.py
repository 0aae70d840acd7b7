"""What a GPU says, as plain data: slow facts, one reading of what changes, and events.

None is a number that the device or its driver doesn't offer, or not to us. It is never the same as 0. Units are
NVML's own, so that a recording is what the driver said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class MigFacts:
    """An instance of a divided device."""

    uuid: str
    profile: str = ""
    """Such as 1g.10gb."""
    gpu_instance: int = 0
    compute_instance: int = 0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What hardly ever changes of one device."""

    uuid: str
    """Names the device; everything else may change with a restart of the driver."""
    index: int
    name: str = ""
    serial: str = ""
    pci_bus_id: str = ""
    """As NVML writes it: 00000000:3B:00.0."""
    minor: int | None = None
    """N of /dev/nvidiaN."""
    architecture: str = ""
    compute_capability: str = ""
    memory_bytes: int | None = None
    pcie_generation_max: int | None = None
    pcie_width_max: int | None = None
    mig_enabled: bool = False
    mig: tuple[MigFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What hardly ever changes of a node's devices."""

    driver: str = ""
    cuda: str = ""
    gpus: tuple[GpuFacts, ...] = ()
    """In the order of their indexes."""


class Answer(Enum):
    """How a device answered when it was read."""

    ANSWERS = "answers"
    LOST = "lost"
    """GPU_IS_LOST: it has fallen off the bus."""
    RESET_REQUIRED = "reset-required"
    """RESET_REQUIRED: it does nothing until it is reset."""
    SILENT = "silent"
    """It could not be read, for a reason that says nothing about its health."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One device at one moment."""

    uuid: str
    answer: Answer = Answer.ANSWERS
    problem: str = ""
    """With SILENT: the driver's words."""
    utilization: int | None = None
    """Percent of the last 1/6 to 1 s in which a kernel ran. Not offered while the device is divided."""
    memory_utilization: int | None = None
    memory_used: int | None = None
    """Bytes, without what the driver reserves; so for the next."""
    memory_reserved: int | None = None
    temperature: int | None = None
    """Degrees Celsius; so for the next two."""
    memory_temperature: int | None = None
    temperature_margin: int | None = None
    """How far it is from the temperature at which it slows down."""
    power_mw: int | None = None
    power_limit_mw: int | None = None
    energy_mj: int | None = None
    """Since the driver was loaded."""
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle_reasons: int | None = None
    """nvmlClocksEventReasons: 0x8 hardware slowdown, 0x40 heat, 0x80 power brake; 0x1 is idleness."""
    throttled_heat_ns: int | None = None
    """Time that hardware held it back for heat, since the driver was loaded; so for the next."""
    throttled_brake_ns: int | None = None
    """For the power brake."""
    ecc_corrected: int | None = None
    """Volatile: since the driver was loaded; so for the next."""
    ecc_uncorrected: int | None = None
    ecc_corrected_aggregate: int | None = None
    ecc_uncorrected_aggregate: int | None = None
    sram_threshold_exceeded: bool | None = None
    remapped_corrected: int | None = None
    remapped_uncorrected: int | None = None
    remap_pending: bool | None = None
    """Rows, or on chips before Ampere pages, are replaced at the next reset."""
    remap_failed: bool | None = None
    recovery_action: int | None = None
    """nvmlDeviceGpuRecoveryAction: the driver's own verdict."""
    pcie_generation: int | None = None
    pcie_width: int | None = None
    pcie_replays: int | None = None
    pcie_sent_bytes: int | None = None
    """Counters that wrap; so for the next."""
    pcie_received_bytes: int | None = None
    nvlinks_active: int | None = None
    nvlink_errors: int | None = None
    """CRC, replay and recovery errors together."""
    nvlink_sent_kib: int | None = None
    nvlink_received_kib: int | None = None
    fabric_health: int | None = None
    """nvmlGpuFabricInfo_v3.healthSummary: 1 healthy, 2 unhealthy, 3 limited capacity."""
    processes: int | None = None
    """That compute on it."""
    mig_memory_used: tuple[int | None, ...] = field(default=())
    """Bytes, of each instance in the order of the facts."""


@dataclass(frozen=True, slots=True)
class Xid:
    """The driver reported an error of this code."""

    code: int
    uuid: str = ""
    """Empty: it was not said which device it is about."""
    age: float = 0.0
    """Seconds before it was told here; more than 0 for what the kernel log kept."""
    gpu_instance: int | None = None
    """Of a divided device, where the driver tells."""
    pid: int | None = None
    process: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """Something about a device has changed, so that it should be read now: its recovery action, its division."""

    uuid: str


GpuEvent = Xid | Changed
