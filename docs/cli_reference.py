"""Writes docs/reference/cli.md from the command line itself; `--check` only says whether it is current.

    python -m docs.cli_reference            write
    python -m docs.cli_reference --check    exit code 1 if the page differs from the program

Reads the commands as Typer has them, so it must not know one by name. Starts nothing and connects nowhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from arbora.cli.failures import EXIT_CODES
from arbora.cli.main import app

PAGE = Path(__file__).parent / "reference" / "cli.md"
SHARED = frozenset({"context", "hub_config", "output"})
"""Options of nearly every command; described once."""

_TOP = """# The command line

Written by `python -m docs.cli_reference`; don't edit it by hand.

Every command has `-h`, `--help`. Commands that talk to a hub also have:

| option | environment | meaning |
|---|---|---|
| `--context NAME` | `ARBORA_CONTEXT` | Which context of the file. |
| `--hub-config FILE` | `ARBORA_CONFIG` | Where the hub's address, CA and token are. |
| `-o`, `--output` | | `table`, `wide`, `json` or `yaml`, where a command shows data. |

Without `--hub-config` the context is looked for in `$XDG_CONFIG_HOME/arbora/config.yaml` (`~/.config/arbora`),
then in the data directory of a hub on this machine. Durations are written `90s`, `15m`, `8h`, `7d`.
Data goes to standard output, everything else to standard error. `ARBORA_LOG_LEVEL` (`debug`, `info`, `warning`,
`error`) is for `hub serve` and `agent run`.
"""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    text = render(typer.main.get_command(app))
    if arguments == ["--check"]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not current:
            sys.stderr.write("docs/reference/cli.md is not current: run python -m docs.cli_reference\n")
        return 0 if current else 1
    if arguments:
        sys.stderr.write(__doc__ or "")
        return 2
    PAGE.write_text(text, encoding="utf-8")
    return 0


def render(root: Any) -> str:
    """The whole page."""
    codes = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    parts = [_TOP, "## Exit codes\n\n| code | meaning |\n|---|---|\n" + "\n".join(codes) + "\n"]
    parts += [_command(words, command) for words, command in commands(root)]
    return "\n".join(parts)


def commands(command: Any, words: tuple[str, ...] = ("arbora",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words, in the order of the help."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, each in inner.items():
        if not each.hidden:
            yield from commands(each, (*words, name))


def _command(words: tuple[str, ...], command: Any) -> str:
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    options = [each for each in command.params if each.opts[0].startswith("-") and not each.hidden]
    usage = " ".join((*words, *(_placeholder(each) for each in arguments), "[OPTIONS]" if options else ""))
    lines = [f"## {' '.join(words)}", "", (command.help or "").strip(), "", "```", usage.strip(), "```"]
    rows = [_row(_placeholder(each), each) for each in arguments]
    rows += [_row(", ".join(sorted(each.opts, key=len)), each) for each in options if each.name not in SHARED]
    if rows:
        lines += ["", "| | | |", "|---|---|---|", *rows]
    if command.epilog:
        shown = [line.strip().removeprefix("$ ") for line in command.epilog.splitlines()[1:]]
        lines += ["", "```sh", *shown, "```"]
    return "\n".join(lines) + "\n"


def _placeholder(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    choices = _choices(parameter)
    return "|".join(choices) if choices else str(parameter.name).upper()


def _row(name: str, parameter: Any) -> str:
    notes = []
    if parameter.required:
        notes.append("required")
    elif parameter.default not in (None, "", False, ()):
        value = parameter.default
        notes.append(f"default `{value.value if isinstance(value, Enum) else value}`")
    if choices := _choices(parameter):
        notes.append("one of " + ", ".join(f"`{each}`" for each in choices))
    if parameter.envvar:
        notes.append(f"environment `{parameter.envvar}`")
    cells = (f"`{name}`", (parameter.help or "").strip(), "; ".join(notes))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _choices(parameter: Any) -> list[str]:
    kind = parameter.type_descriptor.annotation
    return [str(each.value) for each in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
