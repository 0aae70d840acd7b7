"""Tables as aligned lines: never cut in a pipe, fitted to the width of a terminal, with colours there.

A noun describes its columns once. Where a terminal is too narrow, only cells of columns that can stand it
(paths, labels, messages) are shortened, with an ellipsis; `-o wide` is never cut. Widths are kept, so that a
watch can print line after line.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arbora.cli.console import is_terminal, rich_console, write
from arbora.cli.formats import View

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

_GAP = 2
_SHORTEST = 10
"""Characters that are left of a cell at least."""


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table."""

    header: str
    cell: Callable[[T], str]
    wide: bool = False
    """Only shown with -o wide."""
    style: Callable[[T], str] | None = None
    """A Rich style for the cell; only used on a terminal."""
    long: bool = False
    """May be shortened where the terminal is too narrow."""


class Lines(Generic[T]):
    """Prints things one line each, under a header."""

    def __init__(self, columns: Sequence[Column[T]], view: View) -> None:
        self._columns = [column for column in columns if not column.wide or view.wide]
        self._headers = view.headers
        self._widths = [len(column.header) if view.headers else 0 for column in self._columns]
        self._console: Console | None = rich_console() if is_terminal() else None
        cut = self._console is not None and not view.wide
        self._limit = shutil.get_terminal_size().columns if cut else 0

    def fit(self, items: Iterable[T]) -> None:
        """Widen the columns for `items`."""
        for item in items:
            for index, column in enumerate(self._columns):
                self._widths[index] = max(self._widths[index], len(column.cell(item)))

    def print_header(self) -> None:
        """Print the header, unless it was not wanted."""
        if self._headers:
            self._print([column.header for column in self._columns], ["bold"] * len(self._columns))

    def print(self, item: T) -> None:
        """Print one line."""
        styles = [column.style(item) if column.style else "" for column in self._columns]
        self._print([column.cell(item) for column in self._columns], styles)

    def _print(self, cells: Sequence[str], styles: Sequence[str]) -> None:
        long = [column.long for column in self._columns]
        widths = shrink(self._widths, long, self._limit) if self._limit else self._widths
        texts = [f"{shorten(cell, width):<{width}}" for cell, width in zip(cells, widths, strict=True)]
        texts[-1] = texts[-1].rstrip()
        gap = " " * _GAP
        if self._console is None:
            write(gap.join(texts).rstrip())
            return
        from rich.text import Text

        parts: list[Any] = []
        for text, style in zip(texts, styles, strict=True):
            parts += [(text, style), gap]
        self._console.print(Text.assemble(*parts[:-1]), soft_wrap=True)


def shrink(widths: Sequence[int], long: Sequence[bool], limit: int) -> list[int]:
    """Widths that add up to `limit` with the gaps, taken from the widest long column first; or nearly so."""
    fitted = list(widths)
    excess = sum(fitted) + _GAP * (len(fitted) - 1) - limit
    while excess > 0:
        index = max((i for i, each in enumerate(long) if each), key=lambda i: fitted[i], default=-1)
        if index < 0 or fitted[index] <= _SHORTEST:
            break
        others = [fitted[i] for i, each in enumerate(long) if each and i != index]
        down_to = max([_SHORTEST, *(width for width in others if width < fitted[index])])
        step = min(excess, fitted[index] - down_to)
        fitted[index] -= step
        excess -= step
    return fitted


def shorten(text: str, width: int) -> str:
    """`text`, with an ellipsis at its end if it is longer than `width`."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equal length as aligned text."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    gap = " " * _GAP
    return [
        gap.join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
