"""How recordings of GPUs look: the list, and what a person sees while one is made.

The progress is on stderr, and only on a terminal: in one line, which is gone at the end. What was recorded is one
line on stdout.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from arbora.cli.console import rich_console
from arbora.cli.durations import show_duration
from arbora.cli.lines import Column

if TYPE_CHECKING:
    from rich.text import Text


class Recorded(Protocol):
    """How far a recording is, as the recorder says."""

    seconds: float
    lines: int
    events: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A recording in the list."""

    name: str
    about: str
    seconds: float
    gpus: int
    real: bool

    @classmethod
    def of(cls, name: str, recording: Any) -> Self:
        """recording: the agent's `Recording`."""
        gpus = next((len(each.facts.gpus) for each in recording.entries if each.facts is not None), 0)
        return cls(name, recording.about, recording.seconds, gpus, recording.real)

    def plain(self) -> dict[str, Any]:
        """For -o json and yaml."""
        return asdict(self)


COLUMNS: Sequence[Column[Shown]] = (
    Column("NAME", lambda one: one.name),
    Column("GPUS", lambda one: str(one.gpus)),
    Column("LASTS", lambda one: show_duration(one.seconds)),
    Column("REAL", lambda one: "yes" if one.real else "no"),
    Column("ABOUT", lambda one: one.about, long=True),
)


def summary(done: Recorded, where: str) -> str:
    """`recorded 1m of 8 GPUs in node-3.jsonl: 130 lines, 1 event`."""
    return f"recorded {show_duration(done.seconds)} of {_count(done.gpus, 'GPU')} in {where}: {_said(done)}"


def _said(done: Recorded) -> str:
    return f"{_count(done.lines, 'line')}, {_count(done.events, 'event')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class RecordingScreen:
    """A line that tells how far it is. A context, so that the terminal is left in order."""

    def __init__(self, progress: Recorded, seconds: float) -> None:
        """seconds: how long it is going to take."""
        self._progress = progress
        self._seconds = seconds
        self._began = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.live import Live

            console = rich_console(stderr=True)
            self._live = Live(console=console, get_renderable=self._drawn, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def seen(self) -> None:
        """Something was recorded."""
        if self._live is not None:
            self._live.refresh()

    def _drawn(self) -> Text:
        from rich.text import Text

        passed = min(time.monotonic() - self._began, self._seconds)
        told = f"{show_duration(float(int(passed)))} of {show_duration(self._seconds)}  {_said(self._progress)}"
        return Text(f"{told}  (Ctrl-C ends it)", no_wrap=True, overflow="ellipsis")
