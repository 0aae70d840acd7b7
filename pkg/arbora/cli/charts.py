"""Numbers as characters: bars, and sparklines of what was measured over time. Pure.

Where the terminal can't show block characters, ASCII stands for them. What is not known is a blank and never a
zero, which is the lowest of the marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

BLOCKS = ("▁", "▂", "▃", "▄", "▅", "▆", "▇", "█")
ASCII = (".", ":", "-", "=", "+", "*", "#", "@")
GAP = " "

Pick = Callable[[Iterable[float]], float]


def bar(part: float | None, width: int, draw: bool) -> str:
    """`part`, from 0 to 1, of a bar so many characters wide; blank if it is not known.

    draw: whether block characters can be shown.
    """
    if part is None:
        return GAP * width
    full, empty = ("█", "░") if draw else ("#", ".")
    filled = round(width * min(max(part, 0.0), 1.0))
    return full * filled + empty * (width - filled)


def sparkline(values: Sequence[float | None], low: float, high: float, draw: bool) -> str:
    """One mark for each value, from the lowest at `low` to the highest at `high`; None is a gap."""
    marks = BLOCKS if draw else ASCII
    span = high - low
    return "".join(
        GAP if each is None else marks[_level((each - low) / span if span > 0 else 0.0)] for each in values
    )


def _level(part: float) -> int:
    """Which mark stands for a value at `part` of the scale."""
    return min(len(BLOCKS) - 1, max(0, int(part * len(BLOCKS))))


def mean(values: Iterable[float]) -> float:
    """Of at least one."""
    kept = list(values)
    return sum(kept) / len(kept)


def resampled(values: Sequence[float | None], width: int, pick: Pick = mean) -> list[float | None]:
    """At most `width` values, each picked from those that it stands for; a gap only where none is known."""
    count = len(values)
    if count <= width:
        return list(values)
    found: list[float | None] = []
    for index in range(width):
        part = values[index * count // width : (index + 1) * count // width]
        known = [each for each in part if each is not None]
        found.append(pick(known) if known else None)
    return found
