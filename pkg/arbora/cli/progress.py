"""What a person sees while `apply --wait` waits: one line for each workload's part in each member.

On a terminal the lines stay and change; elsewhere each change is one line on stderr.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from arbora.cli import words
from arbora.cli.console import rich_console, say
from arbora.v1 import workload_pb2 as pb

if TYPE_CHECKING:
    from rich.table import Table


class Progress:
    """Told of every change; shows it. A context, so that the terminal is left in order."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], tuple[str, str, str]] = {}
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.live import Live

            self._live = Live(console=rich_console(stderr=True), refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def seen(self, workload: pb.Workload) -> None:
        """The workload changed."""
        for part in workload.assignments:
            current = part.status.generation >= workload.generation
            number = part.status.state if current else pb.WORKLOAD_STATE_PENDING
            line = (
                words.workload_state(number),
                part.status.message if current else "",
                words.workload_style(number),
            )
            key = (workload.name, part.path)
            if self._lines.get(key) != line:
                self._lines[key] = line
                if self._live is None:
                    say(f"workload/{workload.name} {part.path} {line[0]} {line[1]}".rstrip())
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for _ in range(4):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for (name, path), (state, message, style) in sorted(self._lines.items()):
            table.add_row(name, path, Text(state, style=style), message)
        return table
