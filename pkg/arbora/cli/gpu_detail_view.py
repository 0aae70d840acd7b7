"""How one GPU looks in full: facts, health, use, what it measures and has counted, its last hours. Pure.

    History of 1h:
      Utilization:  ▅▅▆▆▇▇    ▇█  41 to 99 %, mean 71 %
      Read:         56 of 60 minutes

A minute without a word is a gap, never a zero. Which device it is, and how wide the terminal, comes in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arbora.capacity.gpus import GpuClass
from arbora.cli import gpu_words as words
from arbora.cli import words as common
from arbora.cli.charts import Pick, mean, resampled, sparkline
from arbora.cli.durations import show_duration
from arbora.cli.gpu_view import total_mib
from arbora.cli.output import Section
from arbora.v1 import gpu_pb2 as pb

MINUTE = 60.0
PIPE_WIDTH = 60
"""Marks of a sparkline in a pipe, at most; on a terminal as many as fit."""
SHORTEST = 10
_LABEL = 17
"""Characters in front of a sparkline."""
_BEHIND = 34
"""Characters behind it at most."""

_MEASURED = ("utilization", "memory_used_mib", "power", "temperature")
"""A minute without any of these was not read: the device is not well, and that is all."""
_COUNTERS = (
    ("Corrected memory errors", "ecc_corrected", " since the driver was loaded"),
    ("Uncorrected memory errors", "ecc_uncorrected", " since the driver was loaded"),
    ("Corrected, in its life", "ecc_corrected_aggregate", ""),
    ("Uncorrected, in its life", "ecc_uncorrected_aggregate", ""),
    ("Rows replaced, corrected", "remapped_corrected", ""),
    ("Rows replaced, uncorrected", "remapped_uncorrected", ""),
    ("PCIe packets sent again", "pcie_replays", ""),
    ("NVLink errors", "nvlink_errors", ""),
)


@dataclass(frozen=True, slots=True)
class Paper:
    """What is drawn on."""

    columns: int = 0
    """Of the terminal; 0: there is none, but a pipe."""
    draw: bool = True
    """Whether block characters can be shown."""

    @property
    def marks(self) -> int:
        """How wide a sparkline may be."""
        return max(SHORTEST, self.columns - _LABEL - _BEHIND) if self.columns else PIPE_WIDTH


def describe(answer: pb.GetGpuResponse, seconds: float, paper: Paper) -> list[Section]:
    """One device in full. seconds: how much history was asked for."""
    gpu = answer.gpu
    sections = [
        Section(facts=_facts(gpu)),
        Section("Health", facts=_health(gpu)),
        Section("Use", facts=_use(gpu.device)),
        Section(_values_title(gpu), facts=_values(gpu)),
        Section("Counters", facts=_counters(gpu.device.counters)),
    ]
    if gpu.device.mig:
        sections.append(Section("Instances", table=_instances(gpu)))
    if seconds > 0:
        facts = history(answer.history, seconds, total_mib(gpu.device), paper)
        sections.append(Section(f"History of {show_duration(seconds)}", facts=facts))
    return sections


def history(
    minutes: Sequence[pb.GpuMinute], seconds: float, memory_mib: float | None, paper: Paper
) -> list[tuple[str, str]]:
    """Sparklines of the last `seconds`, and in how many minutes something was wrong.

    memory_mib: of the device; None: the most that was used stands for it.
    """
    slots = _slots(minutes, seconds)

    def line(
        name: str, low: float, high: float | None, pick: Pick, span: Callable[[float, float, float], str]
    ) -> str:
        values = [None if each is None else _minute_value(each, name) for each in slots]
        known = [each for each in values if each is not None]
        if not known:
            return ""
        drawn = sparkline(resampled(values, paper.marks, pick), low, high or max(known) or 1.0, paper.draw)
        return f"{drawn}  {span(min(known), max(known), mean(known))}"

    read = sum(
        each is not None and any(_minute_value(each, name) is not None for name in _MEASURED) for each in slots
    )
    facts = [
        ("Utilization", line("utilization", 0, 100, mean, _percents)),
        ("Memory", line("memory_used_mib", 0, memory_mib, mean, _memories)),
        ("Power", line("power", 0, None, mean, _powers)),
        ("Temperature", line("temperature", 20, 100, max, _temperatures)),
        ("Read", f"{read} of {len(slots)} minutes"),
        ("Throttled", _minutes(sum(each.throttled for each in minutes))),
        ("Not healthy", _unwell(minutes)),
    ]
    return facts


def _slots(minutes: Sequence[pb.GpuMinute], seconds: float) -> list[pb.GpuMinute | None]:
    """One place for each minute that was asked for, oldest first; None is a minute without a word."""
    count = max(1, -int(-seconds // MINUTE))
    slots: list[pb.GpuMinute | None] = [None] * count
    for each in minutes:
        ago = int(each.ago.ToTimedelta().total_seconds() // MINUTE)
        if 0 <= ago < count:
            slots[count - 1 - ago] = each
    return slots


def _minute_value(minute: pb.GpuMinute, name: str) -> float | None:
    return float(getattr(minute, name)) if minute.HasField(name) else None  # type: ignore[arg-type]


def _percents(low: float, high: float, middle: float) -> str:
    return f"{low:.0f} to {high:.0f} %, mean {middle:.0f} %"


def _memories(low: float, high: float, middle: float) -> str:
    return f"{low / 1024:.1f} to {high / 1024:.1f} GiB"


def _powers(low: float, high: float, middle: float) -> str:
    return f"{low:.0f} to {high:.0f} W, mean {middle:.0f} W"


def _temperatures(low: float, high: float, middle: float) -> str:
    return f"{low:.0f} to {high:.0f} C"


def _minutes(count: int) -> str:
    return f"{count} minute{'' if count == 1 else 's'}" if count else ""


def _unwell(minutes: Sequence[pb.GpuMinute]) -> str:
    """`5 minutes: 3 Degraded, 2 Unhealthy`; a minute that nobody judged is not counted."""
    bad = Counter(each.health for each in minutes if each.health not in (0, pb.GPU_HEALTH_HEALTHY))
    if not bad:
        return ""
    parts = ", ".join(f"{count} {words.health(number)}" for number, count in bad.most_common())
    return f"{_minutes(bad.total())}: {parts}"


def _facts(gpu: pb.Gpu) -> list[tuple[str, str]]:
    device = gpu.device
    memory = total_mib(device)
    divided = f"into {len(device.mig)} instances" if device.mig_enabled else ""
    return [
        ("GPU", device.uuid),
        ("Member", gpu.member),
        ("Node", f"{gpu.node}, GPU {device.index}"),
        ("Product", device.name),
        ("Class", str(_class(gpu))),
        ("Memory", words.memory(None, memory).removeprefix("-/") if memory else ""),
        ("Architecture", " ".join(filter(None, (device.architecture, device.compute_capability)))),
        ("Divided", divided),
        ("Serial", device.serial),
        ("Bus", device.pci_bus_id),
        ("Driver", gpu.driver),
        ("CUDA", gpu.cuda),
        ("Note", "what was said last: it is not heard of now" if gpu.stale else ""),
    ]


def _class(gpu: pb.Gpu) -> GpuClass | str:
    return words.class_of(gpu.gpu_class) if gpu.HasField("gpu_class") else ""


def _health(gpu: pb.Gpu) -> list[tuple[str, str]]:
    device = gpu.device
    since = f"{common.duration(device.health_for)} ago" if device.HasField("health_for") else ""
    return [
        ("Health", words.health(device.health) + ("?" if gpu.stale else "")),
        ("Reason", device.reason),
        ("Since", since),
        ("Last error code", f"XID {device.last_xid}" if device.HasField("last_xid") else ""),
    ]


def _use(device: pb.GpuDevice) -> list[tuple[str, str]]:
    certain = [words.holder(each) for each in device.holders if each.certain]
    perhaps = [words.holder(each) for each in device.holders if not each.certain]
    held = [*certain, *([f"one of {', '.join(perhaps)}"] if perhaps else [])]
    facts = [("Use", words.use(device.use) if device.use else "not known")]
    return facts + [("Held by" if not index else "and", each) for index, each in enumerate(held)]


def _values_title(gpu: pb.Gpu) -> str:
    if not gpu.HasField("values_age"):
        return "Values"
    return f"Values, {'said' if gpu.stale else 'changed'} {common.duration(gpu.values_age)} ago"


def _values(gpu: pb.Gpu) -> list[tuple[str, str]]:
    values = gpu.values

    def text(name: str, unit: str) -> str:
        number = words.known(values, name)
        return "" if number is None else f"{number} {unit}".rstrip()

    used = words.known(values, "memory_used_mib")
    reasons = words.known(values, "throttle")
    return [
        ("Utilization", text("utilization", "%")),
        ("Memory in use", "" if used is None else words.memory(used, total_mib(gpu.device))),
        ("Memory busy", text("memory_utilization", "%")),
        ("Power", text("power", "W")),
        ("Temperature", text("temperature", "C")),
        ("Of the memory", text("memory_temperature", "C")),
        ("Clock", text("sm_clock", "MHz")),
        ("Memory clock", text("memory_clock", "MHz")),
        ("Processes", text("processes", "")),
        ("Held back by", words.throttle(reasons) if reasons else ""),
    ]


def _counters(counters: pb.GpuCounters) -> list[tuple[str, str]]:
    facts = [
        (title, f"{getattr(counters, name)}{behind}" if counters.HasField(name) else "")  # type: ignore[arg-type]
        for title, name, behind in _COUNTERS
    ]
    return [*facts, ("Error codes (XID)", f"{counters.xids} since its agent started" if counters.xids else "")]


def _instances(gpu: pb.Gpu) -> tuple[Sequence[str], list[Sequence[str]]]:
    used = gpu.values.mig_memory_used_mib
    rows: list[Sequence[str]] = []
    for index, each in enumerate(gpu.device.mig):
        total = each.memory_bytes / 2**20 if each.HasField("memory_bytes") else None
        memory = words.memory(used[index] if index < len(used) else None, total)
        rows.append((each.profile or "-", f"{each.gpu_instance}/{each.compute_instance}", memory, each.uuid))
    return ("PROFILE", "INSTANCE", "MEMORY", "UUID"), rows
