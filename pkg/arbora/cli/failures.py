"""How a command ends badly: one line `error:`, one line `hint:`, and an exit code that scripts can use.

Every ArboraError carries its exit code; what Typer finds wrong with the command line is told in the same
form. A traceback is printed only with ARBORA_DEBUG=1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from arbora import errors

INTERRUPTED = 130
PIPE_CLOSED = 141
"""128 + SIGINT and 128 + SIGPIPE, as a shell reports them."""

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "not done: an answer was no, or an internal error",
    errors.InvalidInput.exit_code: "the command or its input is wrong",
    3: "the workload that was waited for is degraded",
    errors.NotFound.exit_code: "no such thing",
    errors.Conflict.exit_code: "contradicts what is there",
    errors.PermissionDenied.exit_code: "not known, or not allowed",
    errors.Unavailable.exit_code: "the hub or a member can't be reached now",
    errors.DeadlineExceeded.exit_code: "no answer in time",
    errors.Exhausted.exit_code: "a limit is reached",
    errors.StorageFailed.exit_code: "can't write; nothing was kept",
    errors.Refused.exit_code: "the hub refuses this agent",
    INTERRUPTED: "interrupted",
}


class ArboraGroup(TyperGroup):
    """The root command: runs a command, and turns every failure into text and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Typer would turn a closed pipe into exit code 1, so it is caught before."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _leave_pipe()

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Never returns: exits with the command's code."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            sys.stdout.flush()
            sys.exit(code if isinstance(code, int) else 0)
        except BrokenPipeError:
            _leave_pipe()
        except errors.ArboraError as error:
            _fail(error, str(error), error.hint, error.exit_code)
        except TyperException as error:
            _fail_usage(error)
        except typer.Abort:
            _say("error: not confirmed, nothing was done", "")
            sys.exit(1)
        except Exception as error:  # noqa: BLE001  (the last place that can: a person gets a sentence)
            hint = "This is a bug. Run it again with ARBORA_DEBUG=1 and report what it prints."
            _fail(error, f"internal error: {type(error).__name__}: {error}", hint, 1)


def _fail_usage(error: TyperException) -> NoReturn:
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has just been printed
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path} --help`." if context is not None else ""
    _fail(error, error.format_message().replace("\n", " "), hint, errors.InvalidInput.exit_code)


def _fail(error: Exception, text: str, hint: str, code: int) -> NoReturn:
    if os.environ.get("ARBORA_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    _say(f"error: {text}", hint)
    sys.exit(code)


def _say(text: str, hint: str) -> None:
    try:
        sys.stderr.write(f"{text}\n" + (f"hint: {hint}\n" if hint else ""))
        sys.stderr.flush()
    except BrokenPipeError:
        _leave_pipe()


def _leave_pipe() -> NoReturn:
    """The reader has gone (`| head`): say nothing, not even when Python flushes stdout at its end."""
    with contextlib.suppress(OSError, ValueError):  # no file, then there is nothing to flush at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(PIPE_CLOSED)
