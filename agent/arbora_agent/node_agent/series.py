"""Which numbers of a reading are shown to Prometheus, and under which names. Data.

A number that means the same as in NVIDIA's dcgm-exporter (its etc/default-counters.csv, as of 4.5.3) has the name
and the unit that it has there. All others are ours, in base units.
"""

from __future__ import annotations

from collections.abc import Callable

from arbora_agent.gpu.reading import GpuReading

Told = Callable[[GpuReading], float | None]
"""One number of a reading; None: not offered."""


def _part(number: int | None, of: int) -> float | None:
    return None if number is None else number / of


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _times(number: int | None, factor: int) -> float | None:
    return None if number is None else number * factor


DCGM_NOW: tuple[tuple[str, str, Told], ...] = (
    ("SM_CLOCK", "SM clock frequency (in MHz).", lambda one: one.sm_clock_mhz),
    ("MEM_CLOCK", "Memory clock frequency (in MHz).", lambda one: one.memory_clock_mhz),
    ("MEMORY_TEMP", "Memory temperature (in C).", lambda one: one.memory_temperature),
    ("GPU_TEMP", "GPU temperature (in C).", lambda one: one.temperature),
    ("POWER_USAGE", "Power draw (in W).", lambda one: _part(one.power_mw, 1000)),
    ("GPU_UTIL", "GPU utilization (in %).", lambda one: one.utilization),
    ("MEM_COPY_UTIL", "Memory utilization (in %).", lambda one: one.memory_utilization),
    ("ROW_REMAP_FAILURE", "Whether remapping of rows has failed.", lambda one: _flag(one.remap_failed)),
)
"""Gauges by their names after DCGM_FI_DEV_; so for the next."""
DCGM_COUNTED: tuple[tuple[str, str, Told], ...] = (
    ("TOTAL_ENERGY_CONSUMPTION", "Energy since the driver was loaded (in mJ).", lambda one: one.energy_mj),
    ("PCIE_REPLAY_COUNTER", "PCIe retries.", lambda one: one.pcie_replays),
    (
        "UNCORRECTABLE_REMAPPED_ROWS",
        "Rows remapped for uncorrectable errors.",
        lambda one: one.remapped_uncorrected,
    ),
    ("CORRECTABLE_REMAPPED_ROWS", "Rows remapped for correctable errors.", lambda one: one.remapped_corrected),
    ("ECC_SBE_VOL_TOTAL", "Corrected ECC errors since the driver was loaded.", lambda one: one.ecc_corrected),
    ("ECC_DBE_VOL_TOTAL", "Uncorrected ECC errors since the driver was loaded.", lambda one: one.ecc_uncorrected),
    ("ECC_SBE_AGG_TOTAL", "Corrected ECC errors of its life.", lambda one: one.ecc_corrected_aggregate),
    ("ECC_DBE_AGG_TOTAL", "Uncorrected ECC errors of its life.", lambda one: one.ecc_uncorrected_aggregate),
)
NOW: tuple[tuple[str, str, str, Told], ...] = (
    (
        "arbora_gpu_recovery_action",
        "What the driver asks to be done, as nvmlDeviceGpuRecoveryAction; 0 is nothing.",
        "",
        lambda one: one.recovery_action,
    ),
    (
        "arbora_gpu_remap_pending",
        "Whether memory is to be replaced by the next reset.",
        "",
        lambda one: _flag(one.remap_pending),
    ),
    ("arbora_gpu_nvlinks_up", "NVLinks that are up.", "", lambda one: one.nvlinks_active),
    ("arbora_gpu_processes", "Processes that compute on it.", "", lambda one: one.processes),
    (
        "arbora_gpu_power_limit_watts",
        "Power limit that is enforced.",
        "watts",
        lambda one: _part(one.power_limit_mw, 1000),
    ),
)
"""Gauges: name, help, unit."""
COUNTED: tuple[tuple[str, str, str, str, tuple[tuple[str, Told], ...]], ...] = (
    (
        "arbora_gpu_nvlink_errors",
        "CRC, replay and recovery errors.",
        "",
        "",
        (("", lambda one: one.nvlink_errors),),
    ),
    (
        "arbora_gpu_throttled_seconds",
        "How long hardware held it back, since the driver was loaded.",
        "seconds",
        "reason",
        (
            ("heat", lambda one: _part(one.throttled_heat_ns, 10**9)),
            ("power_brake", lambda one: _part(one.throttled_brake_ns, 10**9)),
        ),
    ),
    (
        "arbora_gpu_pcie_bytes",
        "Bytes over PCIe. The device's counter wraps.",
        "bytes",
        "direction",
        (("sent", lambda one: one.pcie_sent_bytes), ("received", lambda one: one.pcie_received_bytes)),
    ),
    (
        "arbora_gpu_nvlink_bytes",
        "Bytes over all NVLinks.",
        "bytes",
        "direction",
        (
            ("sent", lambda one: _times(one.nvlink_sent_kib, 1024)),
            ("received", lambda one: _times(one.nvlink_received_kib, 1024)),
        ),
    ),
)
"""Counters: name without `_total`, help, unit, the label that tells their rows apart, the rows."""
