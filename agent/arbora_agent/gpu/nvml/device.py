"""One device: how its facts and its reading are put together from calls.

What is slow to ask, or hardly ever changes (the state of each NVLink, errors of each link, the fabric, the errors
of SRAM), is asked in the first reading and then in every `slow_every`-th; in between the last answer stands.
nvmlDeviceGetPcieThroughput is never called: it sleeps for 20 ms; the bytes of PCIe are field values.

Sources: nvml.h of go-nvml 13.615 for calls, field values and units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from arbora_agent.gpu.nvml import mig
from arbora_agent.gpu.nvml.calls import ALL_LINKS, Calls, DeviceAway, Field, memory_of
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading

MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS."""
FABRIC_COMPLETED = 3
"""nvmlGpuFabricInfo_v3.state: the fabric manager has registered the device."""
ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""By NVML_DEVICE_ARCH_*."""

Call = tuple[Any, ...]
"""A function and its arguments after the device."""

NUMBERS: dict[str, tuple[Call, ...]] = {
    "temperature": (("nvmlDeviceGetTemperature", 0), ("nvmlDeviceGetTemperatureV", 0)),
    "temperature_margin": (("nvmlDeviceGetMarginTemperature",),),
    "power_limit_mw": (("nvmlDeviceGetEnforcedPowerLimit",),),
    "energy_mj": (("nvmlDeviceGetTotalEnergyConsumption",),),
    "sm_clock_mhz": (("nvmlDeviceGetClockInfo", 1),),
    "memory_clock_mhz": (("nvmlDeviceGetClockInfo", 2),),
    "throttle_reasons": (
        ("nvmlDeviceGetCurrentClocksEventReasons",),
        ("nvmlDeviceGetCurrentClocksThrottleReasons",),  # before driver 535
    ),
    "ecc_corrected": (("nvmlDeviceGetTotalEccErrors", 0, 0),),
    "ecc_uncorrected": (("nvmlDeviceGetTotalEccErrors", 1, 0),),
    "ecc_corrected_aggregate": (("nvmlDeviceGetTotalEccErrors", 0, 1),),
    "ecc_uncorrected_aggregate": (("nvmlDeviceGetTotalEccErrors", 1, 1),),
    "pcie_generation": (("nvmlDeviceGetCurrPcieLinkGeneration",),),
    "pcie_width": (("nvmlDeviceGetCurrPcieLinkWidth",),),
    "pcie_replays": (("nvmlDeviceGetPcieReplayCounter",),),
}
"""Values that are a function's result as it is; the first function that answers."""

FIELDS: dict[str, Field] = {
    "memory_temperature": (82, 0),
    "power_mw": (186, 0),
    "recovery_action": (230, 0),
    "throttled_heat_ns": (270, 0),
    "throttled_brake_ns": (271, 0),
    "pcie_sent_bytes": (197, 0),
    "pcie_received_bytes": (198, 0),
    "nvlink_sent_kib": (138, ALL_LINKS),
    "nvlink_received_kib": (139, ALL_LINKS),
}
"""Values that are a field value as it is."""
LINK_TOTALS: tuple[Field, ...] = ((38, 0), (45, 0), (52, 0), (59, 0))
"""Errors of all NVLinks: CRC of flow control and of data, replay, recovery. Before Hopper."""
LINK_ERRORS = (161, 162, 163)
"""Replay, recovery and CRC errors of one link, on Hopper. Newer chips have neither of the two."""


class Device:
    """One device. Not for several threads."""

    def __init__(self, nvml: Any, uuid: str, *, slow_every: int) -> None:
        """slow_every: every how many readings what is slow is asked."""
        self.uuid = uuid
        self.facts = GpuFacts(uuid, 0)
        self.handle: Any = None
        self.is_away = False
        self._calls = Calls(nvml)
        self._slow_every = slow_every
        self._until_slow = 0
        self._slow: dict[str, Any] = {}
        self._links: tuple[int, ...] = ()
        self._link_errors: int | None = None
        self._instances: tuple[mig.Instance, ...] = ()

    def found(self, handle: Any, index: int) -> GpuFacts:
        """The driver lists it: its facts, read now; the last ones where it tells none. Raises GpusUnavailable."""
        self.handle = handle
        self._calls.forget()
        self._calls.begin()
        try:
            facts = self._facts(handle, index)
        except DeviceAway:
            facts = None
            self._instances = ()  # their handles may be of an earlier time
        if facts is None or not self._calls.answered:
            facts = replace(self.facts, index=index)
        self.facts = facts
        return facts

    def read(self) -> GpuReading:
        """Now. Raises GpusUnavailable."""
        self._calls.begin()
        try:
            values = self._values(self.handle)
        except DeviceAway as away:
            self.went_away()
            return GpuReading(self.uuid, away.answer)
        if self._calls.trouble and not self._calls.answered:
            return GpuReading(self.uuid, Answer.SILENT, self._calls.trouble)
        self.is_away = False
        return GpuReading(self.uuid, **values)

    def went_away(self) -> None:
        """It is lost or needs a reset. What it said last is worth nothing once it is back."""
        self.is_away = True
        self._until_slow = 0
        self._slow = {}
        self._link_errors = None

    def _facts(self, handle: Any, index: int) -> GpuFacts:
        ask = self._calls.ask
        pci = ask("nvmlDeviceGetPciInfo_v3", handle)
        capability = ask("nvmlDeviceGetCudaComputeCapability", handle)
        memory = memory_of(self._calls, handle)
        total = None if memory is None else memory.total
        divided = mig.is_enabled(self._calls, handle)
        self._instances = mig.instances(self._calls, handle, total) if divided else ()
        return GpuFacts(
            self.uuid,
            index,
            name=ask("nvmlDeviceGetName", handle) or "",
            serial=ask("nvmlDeviceGetSerial", handle) or "",
            pci_bus_id="" if pci is None else pci.busId,
            minor=ask("nvmlDeviceGetMinorNumber", handle),
            architecture=ARCHITECTURES.get(ask("nvmlDeviceGetArchitecture", handle), ""),
            compute_capability="" if capability is None else "{}.{}".format(*capability),
            memory_bytes=total,
            pcie_generation_max=ask("nvmlDeviceGetMaxPcieLinkGeneration", handle),
            pcie_width_max=ask("nvmlDeviceGetMaxPcieLinkWidth", handle),
            mig_enabled=divided,
            mig=tuple(each.facts for each in self._instances),
        )

    def _values(self, handle: Any) -> dict[str, Any]:
        calls = self._calls
        values = {name: calls.first(handle, *functions) for name, functions in NUMBERS.items()}
        slow = self._until_slow <= 0
        self._until_slow = (self._slow_every if slow else self._until_slow) - 1
        if slow:
            self._slow = self._slow_values(handle)
        values |= self._slow
        values |= self._field_values(handle, self._links if slow else ())
        if values["power_mw"] is None:
            values["power_mw"] = calls.ask("nvmlDeviceGetPowerUsage", handle)
        rates = calls.ask("nvmlDeviceGetUtilizationRates", handle)
        if rates is not None:
            values |= {"utilization": rates.gpu, "memory_utilization": rates.memory}
        memory = memory_of(calls, handle)
        if memory is not None:
            values |= {"memory_used": memory.used, "memory_reserved": getattr(memory, "reserved", None)}
        values |= self._remapped(handle)
        values["processes"] = self._processes(handle)
        values["mig_memory_used"] = tuple(self._used(each.handle) for each in self._instances)
        return values

    def _field_values(self, handle: Any, links: Iterable[int]) -> dict[str, Any]:
        """All by one call. links: those whose own errors are asked now."""
        of_links = [(field, link) for link in links for field in LINK_ERRORS]
        found = self._calls.fields(handle, [*FIELDS.values(), *LINK_TOTALS, *of_links])
        if of_links:
            self._link_errors = _sum(found.get(each) for each in of_links)
        # A chip that offers both counts the same errors twice.
        both = (_sum(found.get(each) for each in LINK_TOTALS), self._link_errors)
        errors = max((each for each in both if each is not None), default=None)
        return {name: found.get(field) for name, field in FIELDS.items()} | {"nvlink_errors": errors}

    def _slow_values(self, handle: Any) -> dict[str, Any]:
        calls = self._calls
        states = {link: calls.ask("nvmlDeviceGetNvLinkState", handle, link) for link in range(MAX_LINKS)}
        self._links = tuple(link for link, state in states.items() if state is not None)
        active = sum(1 for link in self._links if states[link])
        sram = calls.fill("nvmlDeviceGetSramEccErrorStatus", handle, "c_nvmlEccSramErrorStatus_v1_t")
        fabric = calls.fill("nvmlDeviceGetGpuFabricInfoV", handle, "c_nvmlGpuFabricInfo_v3_t")
        completed = fabric is not None and fabric.state == FABRIC_COMPLETED
        return {
            "nvlinks_active": active if self._links else None,
            "sram_threshold_exceeded": None if sram is None else bool(sram.bThresholdExceeded),
            "fabric_health": (fabric.healthSummary or None) if completed else None,  # 0: not supported
        }

    def _remapped(self, handle: Any) -> dict[str, Any]:
        """Rows of memory or, on chips before Ampere, pages."""
        rows = self._calls.ask("nvmlDeviceGetRemappedRows", handle)
        if rows is not None:
            corrected, uncorrected, pending, failed = rows
            return {
                "remapped_corrected": corrected,
                "remapped_uncorrected": uncorrected,
                "remap_pending": bool(pending),
                "remap_failed": bool(failed),
            }
        pages = self._calls.ask("nvmlDeviceGetRetiredPagesPendingStatus", handle)
        return {"remap_pending": None if pages is None else bool(pages)}

    def _processes(self, handle: Any) -> int | None:
        whole = self._running(handle)
        if whole is not None or not self._instances:
            return whole
        # A divided device tells only those who may see all of its instances.
        each = [self._running(instance.handle) for instance in self._instances]
        return None if None in each else _sum(each)

    def _running(self, handle: Any) -> int | None:
        functions = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
        found = self._calls.first(handle, *((each,) for each in functions))
        return None if found is None else len(found)

    def _used(self, handle: Any) -> int | None:
        memory = memory_of(self._calls, handle)
        return None if memory is None else int(memory.used)


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Of those that are known; None if none is."""
    known = [each for each in numbers if each is not None]
    return sum(known) if known else None
