"""Options that many commands share, and the examples under each command's help."""

from pathlib import Path
from typing import Annotated

import typer

from arbora.cli.formats import Format

Output = Annotated[Format, typer.Option("-o", "--output", help="How to print it.")]
NoHeaders = Annotated[bool, typer.Option("--no-headers", help="Leave the table's header out.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask. Needed where there is no terminal.")]
ContextName = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="NAME",
        envvar="ARBORA_CONTEXT",
        help="Which context of the file.",
        rich_help_panel="Hub",
    ),
]
HubConfig = Annotated[
    Path | None,
    typer.Option(
        "--hub-config",
        metavar="FILE",
        envvar="ARBORA_CONFIG",
        help="Where the hub's address, CA and token are.",
        rich_help_panel="Hub",
    ),
]


def examples(*lines: str) -> str:
    """An epilog with one example per line."""
    return "\n".join(("Examples:" if len(lines) > 1 else "Example:", *(f"  $ {line}" for line in lines)))
