"""What one reading shows by itself: a table of conditions. Pure.

Each row says whether it holds: yes, no, or None where the reading doesn't tell, which changes nothing.
Source of the fields: nvml.h; of what they mean for health: the column `source`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from arbora.gpus.health import Health
from arbora_agent.gpu.health import recovery
from arbora_agent.gpu.health.finding import Ends, Finding
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading

FABRIC_UNHEALTHY, FABRIC_LIMITED = 2, 3
"""nvmlGpuFabricInfo_v3.healthSummary."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One row."""

    code: str
    health: Health
    sentence: str
    holds: Callable[[GpuReading, GpuFacts], bool | None]
    source: str


def _answers(reading: GpuReading, bad: Answer) -> bool | None:
    """A device that does not answer for another reason says nothing of this one."""
    return None if reading.answer is Answer.SILENT else reading.answer is bad


def _narrow(reading: GpuReading, facts: GpuFacts) -> bool | None:
    if reading.pcie_width is None or facts.pcie_width_max is None or not reading.utilization:
        return None  # an idle link may be narrow to save power
    return reading.pcie_width < facts.pcie_width_max


def _is(value: int | None, bad: int) -> bool | None:
    return None if value is None else value == bad


CONDITIONS: tuple[Condition, ...] = (
    Condition(
        "lost",
        Health.UNHEALTHY,
        "the GPU has fallen off the bus",
        lambda reading, facts: _answers(reading, Answer.LOST),
        "NVML_ERROR_GPU_IS_LOST",
    ),
    Condition(
        "reset-required",
        Health.UNHEALTHY,
        "the GPU does nothing until it is reset",
        lambda reading, facts: _answers(reading, Answer.RESET_REQUIRED),
        "NVML_ERROR_RESET_REQUIRED",
    ),
    Condition(
        "remap-failed",
        Health.UNHEALTHY,
        "replacing a row of memory has failed: the board is due for replacement",
        lambda reading, facts: reading.remap_failed,
        "NVIDIA, GPU memory error management: row-remapping failure",
    ),
    Condition(
        "fabric-unhealthy",
        Health.UNHEALTHY,
        "the NVLink fabric calls the GPU unhealthy",
        lambda reading, facts: _is(reading.fabric_health, FABRIC_UNHEALTHY),
        "nvmlGpuFabricInfo_v3.healthSummary",
    ),
    Condition(
        "sram-threshold",
        Health.DRAINING,
        "uncorrected errors of its SRAM are beyond the threshold: the board is due for replacement",
        lambda reading, facts: reading.sram_threshold_exceeded,
        "nvmlEccSramErrorStatus_v1.bThresholdExceeded",
    ),
    Condition(
        "fabric-limited",
        Health.DEGRADED,
        "the NVLink fabric gives the GPU less than it could",
        lambda reading, facts: _is(reading.fabric_health, FABRIC_LIMITED),
        "nvmlGpuFabricInfo_v3.healthSummary",
    ),
    Condition(
        "hot",
        Health.DEGRADED,
        "the GPU is at the temperature at which it slows down",
        lambda reading, facts: None if reading.temperature_margin is None else reading.temperature_margin <= 0,
        "nvmlDeviceGetMarginTemperature",
    ),
    Condition(
        "pcie-width",
        Health.DEGRADED,
        "its PCIe link is narrower under load than it could be",
        _narrow,
        "our judgement",
    ),
)


def shown(reading: GpuReading, facts: GpuFacts, now: float) -> Iterator[tuple[str, Finding | None]]:
    """By code: what the reading shows, or None for what it shows to be over; without what it does not tell."""
    for row in CONDITIONS:
        holds = row.holds(reading, facts)
        if holds is not None:
            yield (
                row.code,
                Finding(row.code, row.health, row.sentence, now, Ends.READING) if holds else None,
            )
    if reading.recovery_action is not None:
        rule = recovery.recovery_of(reading.recovery_action)
        bad = rule.health is not Health.HEALTHY
        yield (
            "recovery-action",
            Finding("recovery-action", rule.health, rule.sentence, now, Ends.READING) if bad else None,
        )
