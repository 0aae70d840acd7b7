"""What a topic measured: figures with their targets, and the quantiles of raw samples. Pure.

A topic makes figures with `Report.figure`, `Report.quantile` and `Report.missing`; `table.py` prints them and
writes them down. Nothing here measures, and a target that was missed is a result, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    id: str
    """Stable: `topic.what.quantile`."""
    value: float | None
    """None: not measured; `conditions` says why."""
    unit: str
    target: str
    """Such as `<= 100`, `>= 500` or `= 400`, in `unit`; empty: told for information."""
    met: bool | None
    """None where there is no target or no value."""
    conditions: str
    """What was measured on what, and how often."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the results file."""
        return asdict(self)


class Topic(Protocol):
    """One subject of the bench: a module `bench/<name>.py` offers one as `TOPIC`."""

    name: str
    parts: tuple[str, ...]
    """What can be measured by itself with `--part`."""

    async def run(self, report: Report, parts: Sequence[str]) -> None:
        """Measure `parts`. Raises whatever keeps it from measuring; a target that is missed is no error."""
        ...


class Report:
    """Collects a topic's figures and tells of its progress."""

    def __init__(self, topic: str, say: Callable[[str], None]) -> None:
        """say: shows one line of progress."""
        self.topic = topic
        self.say = say
        self.figures: list[Figure] = []

    def figure(
        self,
        id: str,
        value: float,
        unit: str,
        conditions: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        exactly: float | None = None,
    ) -> Figure:
        """A number, and whether it meets its target, of which there is one at most."""
        target, met = "", None
        if at_most is not None:
            target, met = f"<= {at_most:g}", value <= at_most
        elif at_least is not None:
            target, met = f">= {at_least:g}", value >= at_least
        elif exactly is not None:
            target, met = f"= {exactly:g}", value == exactly
        return self._add(Figure(f"{self.topic}.{id}", round(value, 3), unit, target, met, conditions))

    def quantile(
        self,
        id: str,
        samples: Sequence[float],
        q: float,
        unit: str,
        conditions: str,
        *,
        at_most: float | None = None,
    ) -> Figure:
        """The quantile `q` of raw samples, such as 0.99; the id gets `.p99`, the conditions n and the range."""
        spread = f"n={len(samples)}, {min(samples):.1f} to {max(samples):.1f}"
        name = f"{id}.p{q * 100:g}"
        return self.figure(name, quantile(samples, q), unit, f"{conditions}; {spread}", at_most=at_most)

    def missing(self, id: str, unit: str, reason: str, *, at_most: float | None = None) -> Figure:
        """Something that could not be measured here, and why."""
        target = "" if at_most is None else f"<= {at_most:g}"
        return self._add(Figure(f"{self.topic}.{id}", None, unit, target, None, f"not measured: {reason}"))

    def _add(self, figure: Figure) -> Figure:
        self.figures.append(figure)
        shown = "not measured" if figure.value is None else f"{figure.value:g} {figure.unit}"
        verdict = {True: f"  ({figure.target}: met)", False: f"  ({figure.target}: MISSED)", None: ""}[figure.met]
        self.say(f"  {figure.id}: {shown}{verdict}")
        return figure


def quantile(samples: Sequence[float], q: float) -> float:
    """The quantile `q` in [0, 1] by linear interpolation between order statistics (numpy's default, "type 7")."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
