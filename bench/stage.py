"""How the demo is shown: one line per step, ticking while it lasts, with the time it took.

On a terminal the line of the present step is alive; elsewhere each step is printed once, when it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.table import Table

T = TypeVar("T")


class Stage:
    """Prints the story and remembers how long its steps took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.perf_counter()
        self.timings: list[tuple[str, float]] = []

    def chapter(self, text: str) -> None:
        """A heading."""
        self._console.print(f"\n[bold]{text}[/bold]")

    def show(self, what: RenderableType) -> None:
        """A table or a text."""
        self._console.print(what)

    async def step(self, text: str, action: Awaitable[T], told: Callable[[T], str] = lambda _: "") -> T:
        """Run one step with a live line; `told` says in a few words what came out."""
        started = time.perf_counter()
        with self._console.status(f"{text} …") as status:
            ticking = asyncio.create_task(self._tick(status.update, text, started))
            try:
                result = await action
            finally:
                ticking.cancel()
        took = time.perf_counter() - started
        self.timings.append((text, took))
        outcome = told(result)
        self._console.print(
            f"  [green]✓[/green] {text} [dim]{_human(took)}[/dim]{'  ' + outcome if outcome else ''}",
            highlight=False,
            soft_wrap=True,
        )
        return result

    def summary(self) -> None:
        """The timings that were measured."""
        table = Table(title="measured here", title_justify="left", box=None, pad_edge=False)
        table.add_column("step")
        table.add_column("time", justify="right")
        for text, took in self.timings:
            table.add_row(text, _human(took))
        table.add_row("[bold]the whole story[/bold]", f"[bold]{_human(time.perf_counter() - self._begun)}[/bold]")
        self._console.print("", table)

    async def _tick(self, update: Callable[[str], None], text: str, started: float) -> None:
        while True:
            await asyncio.sleep(0.1)
            update(f"{text} … {time.perf_counter() - started:.1f} s")


def _human(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
