"""The terminal: where the command line writes, whether with colours, and how it asks.

Results go to stdout, everything that is said about them to stderr. Rich is imported only where stdout is a
terminal; NO_COLOR and TERM=dumb are respected by it. The streams are looked up at each call, so that tests
can replace them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from arbora.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal() -> bool:
    """Whether stdout is a person's terminal."""
    return sys.stdout.isatty()


def write(text: str) -> None:
    """A result, with a newline if it has none, at once."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A remark for the person, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def rich_console(stderr: bool = False) -> Console:
    """A Rich console on stdout or stderr, without markup: what is printed can be anything."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    return Console(file=file, markup=False, highlight=False, emoji=False)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is destroyed. `yes`: the answer was given with --yes.

    Raises InvalidInput if nobody can be asked, typer.Abort if the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"not asked: {question}", hint="Add --yes to do it without a terminal.")
    import typer

    typer.confirm(question, abort=True, err=True)


def can_draw() -> bool:
    """Whether stdout can show block and box characters."""
    return (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"
