"""`arbora version`."""

from typing import Annotated

import typer

from arbora.cli.options import examples


def register(root: typer.Typer, panel: str) -> None:
    """Add the command to the root."""
    root.command("version", epilog=examples("arbora version"), rich_help_panel=panel)(version)


def version(
    short: Annotated[bool, typer.Option("--short", help="Only the number.")] = False,
) -> None:
    """Show the version of this program. `arbora hub info` shows the hub's."""
    import platform

    from arbora.cli.console import write
    from arbora.version import PROTOCOL_VERSIONS, __version__

    if short:
        write(__version__)
        return
    protocols = ", ".join(str(number) for number in PROTOCOL_VERSIONS)
    write(f"arbora {__version__} (session protocol {protocols}, Python {platform.python_version()})")
