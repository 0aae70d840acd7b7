"""How GPUs look as tables: summed up by class, member or node, and one by one. Pure.

Numbers of a class come from two sides: FREE, USED and TOTAL are what Kubernetes counts, UTIL and HEALTH what the
devices say. What members that are lost had is told apart and never counted as free; what a device said before it
was not heard of any more has a `?` and is dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arbora.cli import gpu_words as words
from arbora.cli import words as common
from arbora.cli.charts import bar
from arbora.cli.lines import Column
from arbora.cli.plain import to_plain
from arbora.v1 import gpu_pb2 as pb
from arbora.v1 import member_pb2

_WIDTH = 20
MIB = 2**20

SummaryColumn = Column[pb.GpuSummary]
GpuColumn = Column[pb.Gpu]


@dataclass(frozen=True, slots=True)
class Pool:
    """All GPUs of one class."""

    row: pb.GpuSummary
    members: tuple[str, ...] = ()
    """Where they are; only looked for where it is shown."""

    def plain(self) -> dict[str, Any]:
        """For -o json and yaml."""
        row = self.row
        gpu_class = words.class_of(row.gpu_class)
        data: dict[str, Any] = {
            "class": {
                "vendor": gpu_class.vendor,
                "product": gpu_class.product,
                "migProfile": gpu_class.mig_profile,
                "sharing": gpu_class.sharing,
            },
            "total": row.total,
            "used": row.used,
            "free": row.free,
            "unhealthy": row.unhealthy,
            "unusable": row.unusable,
            "pending": row.pending,
            "lost": row.lost,
            "members": list(self.members),
            "memberCount": row.members,
            "utilization": words.mean_utilization(row.rollup),
        }
        return data | ({"rollup": to_plain(row.rollup)} if row.HasField("rollup") else {})

    def bar(self, draw: bool) -> str:
        """How much of what is there is used."""
        total = self.row.total
        return bar(min(self.row.used, total) / total if total else 0.0, _WIDTH, draw)


def where(lines: Iterable[member_pb2.MemberLine]) -> dict[str, list[str]]:
    """By the name of the class: the paths of those that have GPUs of it."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for count in line.gpus:
            found.setdefault(str(words.class_of(count.gpu_class)), []).append(line.path)
    return found


def class_columns(draw: bool) -> Sequence[Column[Pool]]:
    """draw: whether the terminal can show block characters."""
    return (
        Column("CLASS", lambda pool: str(words.class_of(pool.row.gpu_class)), long=True),
        Column(
            "FREE", lambda pool: str(pool.row.free), style=lambda pool: "green" if pool.row.free else "yellow"
        ),
        Column("USED", lambda pool: str(pool.row.used)),
        Column("TOTAL", lambda pool: str(pool.row.total)),
        Column("USE", lambda pool: pool.bar(draw)),
        Column("MEMBERS", lambda pool: str(pool.row.members)),
        Column("UTIL", lambda pool: utilization(pool.row)),
        Column(
            "HEALTH",
            lambda one: words.healths(one.row),
            style=lambda one: words.healths_style(one.row),
            long=True,
        ),
        Column("PENDING", lambda pool: str(pool.row.pending), wide=True),
        Column("UNHEALTHY", lambda pool: str(pool.row.unhealthy), wide=True),
        Column("UNUSABLE", lambda pool: str(pool.row.unusable), wide=True),
        Column("LOST", lambda pool: str(pool.row.lost), wide=True),
        Column("WHERE", lambda pool: ",".join(pool.members), wide=True),
    )


def utilization(row: pb.GpuSummary) -> str:
    """Mean of what the devices say."""
    return words.percent(words.mean_utilization(row.rollup))


def memory(row: pb.GpuSummary) -> str:
    """Of the devices whose use of memory is known."""
    return words.memory(row.rollup.memory_used_mib, row.rollup.memory_total_mib or None) if _read(row) else "-"


def power(row: pb.GpuSummary) -> str:
    """Of all together."""
    return words.power(row.rollup.power_milliwatts / 1000 if row.rollup.power_milliwatts else None)


def hottest(row: pb.GpuSummary) -> str:
    """The temperature of the hottest."""
    return words.celsius(row.rollup.temperature_max or None)


def member_health(row: pb.GpuSummary) -> str:
    """As `healths`; of a member that is lost, that it is."""
    return f"{row.lost} lost" if row.lost and not row.total else words.healths(row)


def _read(row: pb.GpuSummary) -> bool:
    return bool(row.rollup.memory_total_mib)


def _class(row: pb.GpuSummary) -> str:
    return str(words.class_of(row.gpu_class)) if row.HasField("gpu_class") else "several"


def _counts(*names: str) -> tuple[SummaryColumn, ...]:
    """Wide columns with what the devices say."""

    def column(name: str) -> SummaryColumn:
        return Column(
            name.upper(), lambda row: str(getattr(row.rollup, name)) if row.rollup.devices else "-", wide=True
        )

    return tuple(map(column, names))


MEMBER_COLUMNS: Sequence[SummaryColumn] = (
    Column("MEMBER", lambda row: row.name, long=True),
    Column("FREE", lambda row: str(row.free), style=lambda row: "green" if row.free else "yellow"),
    Column("USED", lambda row: str(row.used)),
    Column("TOTAL", lambda row: str(row.total)),
    Column("UTIL", utilization),
    Column("MEMORY", memory),
    Column("POWER", power),
    Column("HEALTH", member_health, style=words.healths_style, long=True),
    Column("CLASS", _class, wide=True),
    Column("MEMBERS", lambda row: str(row.members), wide=True),
    Column("TEMP", hottest, wide=True),
    Column("PENDING", lambda row: str(row.pending), wide=True),
    Column("UNHEALTHY", lambda row: str(row.unhealthy), wide=True),
    Column("UNUSABLE", lambda row: str(row.unusable), wide=True),
    Column("LOST", lambda row: str(row.lost), wide=True),
    *_counts("throttled", "idle", "leaked"),
)

NODE_COLUMNS: Sequence[SummaryColumn] = (
    Column("NODE", lambda row: row.name, long=True),
    Column("GPUS", lambda row: str(row.total)),
    Column("UTIL", utilization),
    Column("MEMORY", memory),
    Column("POWER", power),
    Column("TEMP", hottest),
    Column("HEALTH", words.healths, style=words.healths_style, long=True),
    Column("CLASS", _class, wide=True),
    *_counts("throttled", "idle", "leaked"),
)


def measured(gpu: pb.Gpu, text: str) -> str:
    """What was measured; with a `?` if that was before the device was not heard of any more."""
    return f"{text}?" if gpu.stale and text != words.NONE else text


def product(gpu: pb.Gpu) -> str:
    """As `--product` takes it: `NVIDIA-H100-80GB-HBM3`."""
    return gpu.device.name.replace(" ", "-") or words.NONE


def gpu_utilization(gpu: pb.Gpu) -> str:
    """`97%`."""
    return measured(gpu, words.percent(words.known(gpu.values, "utilization")))


def gpu_memory(gpu: pb.Gpu) -> str:
    """`40/80GiB`."""
    used = words.known(gpu.values, "memory_used_mib")
    return words.NONE if used is None else measured(gpu, words.memory(used, total_mib(gpu.device)))


def gpu_temperature(gpu: pb.Gpu) -> str:
    """`61C`."""
    return measured(gpu, words.celsius(words.known(gpu.values, "temperature")))


def gpu_power(gpu: pb.Gpu) -> str:
    """`301W`."""
    return measured(gpu, words.power(words.known(gpu.values, "power")))


def gpu_health(gpu: pb.Gpu) -> str:
    """`Healthy`."""
    return measured(gpu, words.health(gpu.device.health))


def total_mib(device: pb.GpuDevice) -> float | None:
    """Its memory."""
    return device.memory_bytes / MIB if device.HasField("memory_bytes") else None


def _style(own: Callable[[pb.Gpu], str] | None = None) -> Callable[[pb.Gpu], str]:
    return lambda gpu: "dim" if gpu.stale else own(gpu) if own is not None else ""


def _said(gpu: pb.Gpu) -> str:
    return common.duration(gpu.values_age) if gpu.HasField("values_age") else words.NONE


GPU_COLUMNS: Sequence[GpuColumn] = (
    Column("MEMBER", lambda gpu: gpu.member, style=_style(), long=True),
    Column("NODE", lambda gpu: gpu.node, style=_style(), long=True),
    Column("GPU", lambda gpu: str(gpu.device.index), style=_style()),
    Column("PRODUCT", product, style=_style(), long=True),
    Column("UTIL", gpu_utilization, style=_style()),
    Column("MEMORY", gpu_memory, style=_style()),
    Column("TEMP", gpu_temperature, style=_style()),
    Column("POWER", gpu_power, style=_style()),
    Column("HEALTH", gpu_health, style=_style(lambda gpu: words.health_style(gpu.device.health))),
    Column(
        "USE",
        lambda gpu: measured(gpu, words.use(gpu.device.use)),
        style=_style(lambda gpu: words.use_style(gpu.device.use)),
    ),
    Column("UUID", lambda gpu: gpu.device.uuid, style=_style(), wide=True),
    Column("SAID", _said, style=_style(), wide=True),
    Column("HOLDER", lambda gpu: words.holders(gpu.device.holders) or words.NONE, style=_style(), wide=True),
    Column("REASON", lambda gpu: gpu.device.reason or words.NONE, style=_style(), wide=True),
)
