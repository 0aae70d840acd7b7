"""GPUs by class over members. Pure.

What members that are lost had is told apart and never counted as free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.cli.lines import Column
from arbora.cli.member_view import class_of
from arbora.v1 import member_pb2 as pb

_WIDTH = 20


@dataclass(slots=True)
class Pool:
    """All GPUs of one class."""

    gpu_class: GpuClass
    total: int = 0
    used: int = 0
    free: int = 0
    unhealthy: int = 0
    unusable: int = 0
    pending: int = 0
    lost: int = 0
    """In members that are lost; in none of the other numbers."""
    members: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For -o json and yaml."""
        return {
            "class": {
                "vendor": self.gpu_class.vendor,
                "product": self.gpu_class.product,
                "migProfile": self.gpu_class.mig_profile,
                "sharing": self.gpu_class.sharing,
            },
            "total": self.total,
            "used": self.used,
            "free": self.free,
            "unhealthy": self.unhealthy,
            "unusable": self.unusable,
            "pending": self.pending,
            "lost": self.lost,
            "members": self.members,
        }

    def bar(self, full: str, empty: str) -> str:
        """How much of what is there is used."""
        filled = round(_WIDTH * min(self.used, self.total) / self.total) if self.total else 0
        return full * filled + empty * (_WIDTH - filled)


def pools(members: Iterable[pb.Member]) -> list[Pool]:
    """Sum up the members' sketches, class by class, in the order of the classes' names."""
    found: dict[GpuClass, Pool] = {}
    for member in members:
        for sketch in member.sketches:
            pool = found.setdefault(class_of(sketch), Pool(class_of(sketch)))
            pool.members.append(member.path)
            if member.liveness == pb.LIVENESS_LOST:
                pool.lost += sum(row.total for row in sketch.rows)
                continue
            for row in sketch.rows:
                pool.total += row.total
                pool.used += row.used
                pool.free += 0 if member.cordoned else row.free
                pool.unusable += row.unusable + (row.free if member.cordoned else 0)
                pool.unhealthy += row.unhealthy
                pool.pending += row.pending
    return [found[key] for key in sorted(found)]


def columns(draw: bool) -> Sequence[Column[Pool]]:
    """draw: whether the terminal can show block characters."""
    full, empty = ("█", "░") if draw else ("#", ".")
    return (
        Column("CLASS", lambda pool: str(pool.gpu_class), long=True),
        Column("FREE", lambda pool: str(pool.free), style=lambda pool: "green" if pool.free else "yellow"),
        Column("USED", lambda pool: str(pool.used)),
        Column("TOTAL", lambda pool: str(pool.total)),
        Column("USE", lambda pool: pool.bar(full, empty)),
        Column("MEMBERS", lambda pool: str(len(pool.members))),
        Column("PENDING", lambda pool: str(pool.pending), wide=True),
        Column("UNHEALTHY", lambda pool: str(pool.unhealthy), wide=True),
        Column("UNUSABLE", lambda pool: str(pool.unusable), wide=True),
        Column("LOST", lambda pool: str(pool.lost), wide=True),
        Column("WHERE", lambda pool: ",".join(pool.members), wide=True),
    )
