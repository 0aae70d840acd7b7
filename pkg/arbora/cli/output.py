"""How results look: `-o table|wide|json|yaml`, the same for every noun.

A noun describes its columns once; this module renders them: aligned text for pipes and scripts, never cut;
Rich with colours on a terminal, cut to its width. `json` and `yaml` hold everything, as `plain.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from arbora.cli.console import is_terminal, rich_console, say, write
from arbora.cli.formats import Format, View
from arbora.cli.plain import to_plain

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table."""

    header: str
    cell: Callable[[T], str]
    wide: bool = False
    """Only shown with -o wide."""
    style: Callable[[T], str] | None = None
    """A Rich style for the cell; only used on a terminal."""


def show_list(items: Sequence[T], columns: Sequence[Column[T]], view: View, noun: str) -> None:
    """Print `items`. noun: what they are, for the remark that there are none."""
    if view.structured:
        show_data({"items": [_plain(item) for item in items]}, view.format)
    elif not items:
        say(f"no {noun}")
    elif is_terminal():
        _show_rich(items, _chosen(columns, view), view.headers)
    else:
        table = Lines(columns, view)
        table.fit(items)
        write("\n".join([*table.head(), *(table.line(item) for item in items)]))


def show_one(item: Any, sections: Callable[[], Sequence[Section]], view: View) -> None:
    """Print one thing: everything as data, or described in sections."""
    if view.structured:
        show_data(_plain(item), view.format)
    else:
        write("\n".join(line for section in sections() for line in section.lines()))


def show_data(data: Any, format: Format, *, one_line: bool = False) -> None:
    """Print plain data. one_line: for streams, one JSON document per line or one YAML document each."""
    if format is Format.YAML:
        from arbora.manifests.strict_yaml import dump_yaml

        write(("---\n" if one_line else "") + dump_yaml([data]))
    else:
        write(json.dumps(data, ensure_ascii=False, indent=None if one_line else 2))


@dataclass(slots=True)
class Section:
    """A title and what is said under it; without a title, `Name: value` lines."""

    title: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    table: tuple[Sequence[str], list[Sequence[str]]] | None = None

    def lines(self) -> Iterable[str]:
        """The section as text. Facts without a value are left out."""
        facts = [(name, value) for name, value in self.facts if value]
        indent = "  " if self.title else ""
        if not facts and not (self.table and self.table[1]):
            return
        if self.title:
            yield f"{self.title}:"
        width = max((len(name) for name, _ in facts), default=0) + 3
        for name, value in facts:
            yield f"{indent}{f'{name}:':<{width}}{value}"
        if self.table:
            headers, rows = self.table
            for line in align([headers, *rows]):
                yield f"{indent}{line}"


class Lines(Generic[T]):
    """Aligned lines, whose widths are kept for what comes later (watches)."""

    def __init__(self, columns: Sequence[Column[T]], view: View) -> None:
        self._columns = _chosen(columns, view)
        self._headers = view.headers
        self._widths = [len(column.header) if view.headers else 0 for column in self._columns]

    def fit(self, items: Iterable[T]) -> None:
        """Widen the columns for `items`."""
        for item in items:
            for index, column in enumerate(self._columns):
                self._widths[index] = max(self._widths[index], len(column.cell(item)))

    def head(self) -> list[str]:
        """The header line, or nothing."""
        return [self._join([column.header for column in self._columns])] if self._headers else []

    def line(self, item: T) -> str:
        """One item's line."""
        return self._join([column.cell(item) for column in self._columns])

    def _join(self, cells: Sequence[str]) -> str:
        return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, self._widths, strict=True)).rstrip()


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equal length as aligned lines."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _chosen(columns: Sequence[Column[T]], view: View) -> list[Column[T]]:
    return [column for column in columns if not column.wide or view.wide]


def _plain(item: Any) -> Any:
    return to_plain(item) if isinstance(item, Message) else item.plain() if hasattr(item, "plain") else item


def _show_rich(items: Sequence[T], columns: Sequence[Column[T]], headers: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=headers, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.header, no_wrap=True, overflow="ellipsis")
    for item in items:
        table.add_row(
            *(Text(column.cell(item), style=column.style(item) if column.style else "") for column in columns)
        )
    rich_console().print(table)
