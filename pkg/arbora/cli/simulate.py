"""`arbora simulate`: where workloads would go in a fleet that is only a file.

No hub runs, but the hub's own code decides (`arbora_hub.workloads.simulation`), so it must be installed.
"""

from typing import Annotated

import typer

from arbora.cli.formats import Format, View
from arbora.cli.options import Output, examples


def register(root: typer.Typer, panel: str) -> None:
    """Add the command to the root."""
    shown = (
        "arbora simulate -f fleet.yaml -f workload.yaml",
        "arbora simulate -f fleet.yaml -f workload.yaml -o json | jq '.items[].explanation.decision'",
    )
    root.command("simulate", epilog=examples(*shown), rich_help_panel=panel)(simulate)


def simulate(
    files: Annotated[
        list[str],
        typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="A Fleet and the Workloads; - is stdin."),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Also below a directory.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Say where workloads would go in a fleet described in a file. Needs no hub.

    The workloads are placed one after the other, and each takes its room from those after it.
    """
    from arbora.cli.answer_view import detail_lines, unexplained
    from arbora.cli.console import say, write
    from arbora.cli.daemon import load
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain
    from arbora.cli.simulating import gather
    from arbora.cli.sources import read_sources
    from arbora.client.workloads import request_of

    fleet, workloads = gather(read_sources(files, recursive))
    requests = [request_of(workload, dry_run=True) for workload in workloads]
    answers = load("arbora_hub.workloads.simulation", "hub").simulate(fleet, requests)
    view = View(output)
    if view.structured:
        show_data({"items": [to_plain(answer) for answer in answers]}, output)
        return
    for request, answer in zip(requests, answers, strict=True):
        for warning in unexplained(answer):
            say(f"warning: workload/{request.name}: {warning}")
    parts = zip(requests, answers, strict=True)
    texts = ["\n".join([f"workload/{asked.name}", *detail_lines(told, view.wide)]) for asked, told in parts]
    write("\n\n".join(texts))
