"""How results look: `-o table|wide|json|yaml`, the same for every noun.

Tables are laid out in `lines.py`. `json` and `yaml` hold everything, as `plain.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from arbora.cli.console import say, write
from arbora.cli.formats import Format, View
from arbora.cli.lines import Column, Lines, align
from arbora.cli.plain import to_plain

T = TypeVar("T")


def show_list(items: Sequence[T], columns: Sequence[Column[T]], view: View, noun: str) -> None:
    """Print `items`. noun: what they are, for the remark that there are none."""
    if view.structured:
        show_data({"items": [_plain(item) for item in items]}, view.format)
    elif not items:
        say(f"no {noun}")
    else:
        table = Lines(columns, view)
        table.fit(items)
        table.print_header()
        for item in items:
            table.print(item)


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


def _plain(item: Any) -> Any:
    return to_plain(item) if isinstance(item, Message) else item.plain() if hasattr(item, "plain") else item
