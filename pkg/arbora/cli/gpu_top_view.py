"""`arbora gpus top`: one headline, then GPUs with bars of utilization and memory. Pure.

    8 GPUs  71% mean  4.1kW  6 healthy, 1 degraded, 1 unhealthy
    MEMBER   NODE    GPU  UTIL             MEMORY               TEMP  POWER  HEALTH    USE
    /edge-7  h100-0  3    ██████████  99%  ████████░░ 64/80GiB  71C   690W   Healthy   Held

What is not heard of comes last, is dim and in no mean; where the hub doesn't answer the headline says so, and all
that is below it is dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arbora.cli import gpu_view as view
from arbora.cli import gpu_words as words
from arbora.cli.charts import bar
from arbora.cli.lines import shorten
from arbora.cli.screen import Spans, aligned, dimmed, width
from arbora.v1 import gpu_pb2 as pb

Cells = list[Spans]
BARS = (10, 6, 3, 0)
"""Characters of a bar: the most that fit."""
NAMES = (60, 24, 12)
"""Characters of a name: likewise, once the bars are gone."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the hub said; one of the two is empty."""

    gpus: tuple[pb.Gpu, ...] = ()
    rows: tuple[pb.GpuSummary, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What is drawn on."""

    draw: bool = True
    """Whether block characters can be shown."""
    size: tuple[int, int] | None = None
    """Columns and lines of the terminal; None: as many as one likes."""


def top_lines(found: Found, by: str, frame: Frame, trouble: str = "") -> list[Spans]:
    """The whole picture. by: what a line is. trouble: why what is shown may not be so any more."""
    head = [*([(f"{trouble}  ", "yellow")] if trouble else []), *headline(found)]
    if not found.gpus and not found.rows:
        return [head]
    table = _fitting(found, by, frame)
    if frame.size is not None:
        table = _cut(table, max(2, frame.size[1] - 2))
    return [head, *(map(dimmed, table) if trouble else table)]


def headline(found: Found) -> Spans:
    """How many there are, how busy, how much power they take, and how well they are."""
    sums = (
        _of_gpus(found.gpus) if found.gpus else _sum([row.rollup for row in found.rows if row.HasField("rollup")])
    )
    if not sums.devices:
        counted = sum(row.total for row in found.rows)
        return [(f"{counted} GPUs, none of which is read" if counted else "no GPUs", "bold")]
    spans: Spans = [(f"{sums.devices} GPU{'' if sums.devices == 1 else 's'}", "bold")]
    if sums.utilization_known:
        spans.append((f"  {words.percent(words.mean_utilization(sums))} mean", ""))
    if sums.power_milliwatts:
        spans.append((f"  {sums.power_milliwatts / 1e6:.1f}kW", ""))
    spans.append((f"  {sums.healthy} healthy", "green" if sums.healthy else "dim"))
    for text, style in words.counted([sums]):
        spans += [(", ", ""), (text, style)]
    return spans


def _sum(rollups: Sequence[pb.GpuRollup]) -> pb.GpuRollup:
    """What the headline needs of all together."""
    names = (
        *("devices", "utilization_known", "utilization_sum", "power_milliwatts", "silent"),
        *("healthy", "degraded", "draining", "unhealthy", "recovering"),
    )
    return pb.GpuRollup(**{name: sum(getattr(each, name) for each in rollups) for name in names})


def _of_gpus(gpus: Sequence[pb.Gpu]) -> pb.GpuRollup:
    """The same of single devices: one that is not heard of counts as that, and measures nothing."""
    sums = pb.GpuRollup(devices=len(gpus))
    for gpu in gpus:
        name = words.health(gpu.device.health).lower()
        if name in ("healthy", "degraded", "draining", "unhealthy", "recovering"):
            setattr(sums, name, getattr(sums, name) + 1)
        if gpu.stale:
            sums.silent += 1
            continue
        if gpu.values.HasField("utilization"):
            sums.utilization_known += 1
            sums.utilization_sum += gpu.values.utilization * 100
        sums.power_milliwatts += gpu.values.power * 1000
    return sums


def _fitting(found: Found, by: str, frame: Frame) -> list[Spans]:
    """The table as wide as the terminal allows; should nothing fit, the narrowest."""
    tries = [(bars, NAMES[0]) for bars in BARS] + [(0, name) for name in NAMES[1:]]
    table: list[Spans] = []
    for bars, name in tries:
        rows = (
            _gpu_rows(found.gpus, frame, bars, name) if by == "gpu" else _rows(found.rows, by, frame, bars, name)
        )
        table = aligned(rows)
        if frame.size is None or max(map(width, table)) <= frame.size[0]:
            break
    return table


def _cut(table: list[Spans], room: int) -> list[Spans]:
    """At most so many lines; how many are left out is said."""
    if len(table) <= room:
        return table
    left_out = len(table) - room + 1
    return [*table[: room - 1], [(f"and {left_out} more", "dim")]]


def _header(*names: str) -> Cells:
    return [[(name, "bold")] for name in names]


def _cell(text: str, style: str = "") -> Spans:
    return [(text, style)]


def _bar(part: float | None, text: str, style: str, frame: Frame, bars: int) -> Spans:
    return [(f"{bar(part, bars, frame.draw)} ", style), (text, "")] if bars else [(text, "")]


def _gpu_rows(gpus: Sequence[pb.Gpu], frame: Frame, bars: int, name: int) -> list[Cells]:
    """The busiest first; what is not known, and what is not heard of, last."""
    rows = [_header("MEMBER", "NODE", "GPU", "UTIL", "MEMORY", "TEMP", "POWER", "HEALTH", "USE")]
    for gpu in sorted(gpus, key=_busy):
        utilization, used = (words.known(gpu.values, each) for each in ("utilization", "memory_used_mib"))
        total = view.total_mib(gpu.device)
        style = words.health_style(gpu.device.health)
        cells = [
            _cell(shorten(gpu.member, name)),
            _cell(shorten(gpu.node, name)),
            _cell(str(gpu.device.index)),
            _bar(
                None if utilization is None else utilization / 100,
                f"{view.gpu_utilization(gpu):>4}",
                style,
                frame,
                bars,
            ),
            _bar(None if used is None or not total else used / total, view.gpu_memory(gpu), "cyan", frame, bars),
            _cell(view.gpu_temperature(gpu)),
            _cell(view.gpu_power(gpu)),
            _cell(view.gpu_health(gpu), style),
            _cell(view.measured(gpu, words.use(gpu.device.use)), words.use_style(gpu.device.use)),
        ]
        rows.append([dimmed(cell) for cell in cells] if gpu.stale else cells)
    return rows


def _busy(gpu: pb.Gpu) -> tuple[bool, int, str, str, int]:
    utilization = words.known(gpu.values, "utilization")
    return gpu.stale, -1 - utilization if utilization is not None else 0, gpu.member, gpu.node, gpu.device.index


def _rows(found: Sequence[pb.GpuSummary], by: str, frame: Frame, bars: int, name: int) -> list[Cells]:
    """One for each class, member or node, in the order of their names."""
    counted = ["GPUS"] if by == "node" else ["FREE", "TOTAL"]
    rows = [_header(by.upper(), *counted, "UTIL", "MEMORY", "TEMP", "POWER", "HEALTH")]
    for row in found:
        mean = words.mean_utilization(row.rollup)
        used, total = row.rollup.memory_used_mib, row.rollup.memory_total_mib
        style = words.healths_style(row)
        free = _cell(str(row.free), "green" if row.free else "yellow")
        cells = [
            _cell(shorten(row.name, name)),
            *([] if by == "node" else [free]),
            _cell(str(row.total)),
            _bar(None if mean is None else mean / 100, f"{words.percent(mean):>4}", style, frame, bars),
            _bar(used / total if total else None, view.memory(row), "cyan", frame, bars),
            _cell(view.hottest(row)),
            _cell(view.power(row)),
            _cell(view.member_health(row), style),
        ]
        rows.append(cells)
    return rows
