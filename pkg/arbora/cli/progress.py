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
    from rich.text import Text


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
            self._live.update(self._drawn())

    def _drawn(self) -> Text:
        """All lines; what doesn't fit is cut at their ends, so that the states stay readable."""
        from rich.text import Text

        rows = [(name, path, *line) for (name, path), line in sorted(self._lines.items())]
        widths = [max(len(row[index]) for row in rows) for index in range(3)]
        drawn = Text(no_wrap=True, overflow="ellipsis")
        for name, path, state, message, style in rows:
            drawn.append(f"{name:<{widths[0]}}  {path:<{widths[1]}}  ")
            drawn.append(f"{state:<{widths[2]}}", style)
            drawn.append(f"  {message}\n".rstrip(" "))
        drawn.rstrip()
        return drawn
