"""Where lines are shown again and again: in one place of a terminal, in a pipe one after the other.

For views that are drawn as spans (`tree_view.py`, `gpu_top_view.py`), so that the same lines serve a terminal, in
colours, and a pipe. In a pipe they are printed again only if they differ from what was printed last. Must not
know what the lines say.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from arbora.cli.console import is_terminal, rich_console, write

if TYPE_CHECKING:
    from rich.text import Text

Spans = list[tuple[str, str]]
"""Parts of a line, each with its Rich style."""
_GAP = "  "


def plain(spans: Spans) -> str:
    """A line without its colours."""
    return "".join(text for text, _ in spans).rstrip()


def width(spans: Spans) -> int:
    """Characters of a part."""
    return sum(len(text) for text, _ in spans)


def aligned(rows: Sequence[Sequence[Spans]]) -> list[Spans]:
    """Rows of equally many cells as lines, each column as wide as its widest cell."""
    if not rows:
        return []
    widths = [max(width(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines: list[Spans] = []
    for row in rows:
        line: Spans = []
        for index, (cell, wide) in enumerate(zip(row, widths, strict=True)):
            last = index == len(widths) - 1
            line += [*cell, ("" if last else " " * (wide - width(cell)) + _GAP, "")]
        lines.append(line)
    return lines


def dimmed(spans: Spans) -> Spans:
    """The same line as something that may not be so any more."""
    return [(text, "dim") for text, _ in spans]


class Screen:
    """Shows lines. A context, so that the terminal is left in order."""

    def __init__(self, watch: bool) -> None:
        """watch: lines will be shown more than once."""
        self._watch = watch
        self._shown: list[Spans] | None = None
        self._live: Any = None

    def __enter__(self) -> Self:
        if self._watch and is_terminal():
            from rich.live import Live

            self._live = Live(console=rich_console(), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and lines that can be seen at once; None: as many as one likes."""
        if self._live is None:
            return None
        seen = shutil.get_terminal_size()
        return seen.columns, seen.lines

    def show(self, lines: list[Spans]) -> None:
        """Show them; in a pipe only if they differ from what was shown last."""
        if self._live is not None:
            self._live.update(_text(lines), refresh=True)
        elif is_terminal():
            rich_console().print(_text(lines), soft_wrap=True)
        elif lines != self._shown:
            write("\n".join(map(plain, lines)))
        self._shown = lines


def _text(lines: Sequence[Spans]) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for number, spans in enumerate(lines):
        text.append("\n" if number else "")
        for part, style in spans:
            text.append(part, style or None)
    return text
