"""`arbora gpus`: what there is and what is free, by class over members."""

from typing import TYPE_CHECKING

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.members import Selector
from arbora.cli.options import NoHeaders, Output

if TYPE_CHECKING:
    from arbora.client import HubClient


def register(root: typer.Typer, panel: str) -> None:
    """Add the command to the root."""
    hub_command(root, "gpus", "arbora gpus -l zone=b", "arbora gpus -o wide", panel=panel)(list_gpus)


async def list_gpus(
    hub: "HubClient", selector: Selector = "", output: Output = Format.TABLE, no_headers: NoHeaders = False
) -> None:
    """Show GPUs by class, over all members.

    Those of lost members are not counted (see -o wide), those of cordoned members are not free.
    """
    from arbora.cli.console import can_draw
    from arbora.cli.gpu_view import columns, pools
    from arbora.cli.output import show_list

    found = pools([member async for member in hub.members.list(selector)])
    show_list(found, columns(can_draw()), View(output, not no_headers), "GPUs")
