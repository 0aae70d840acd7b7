"""`arbora workloads`: list, describe, explain, rebalance, delete, watch."""

from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output, Yes

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="Workloads: what runs, and where.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]


@hub_command(app, "list", "arbora workloads list", "arbora workloads list -o json | jq '.items[].name'")
async def list_workloads(hub: "HubClient", output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """List workloads with their state."""
    from arbora.cli.output import show_list
    from arbora.cli.workload_view import COLUMNS

    workloads = [workload async for workload in hub.workloads.list()]
    show_list(workloads, COLUMNS, View(output, not no_headers), "workloads")


@hub_command(app, "describe", "arbora workloads describe train-llm")
async def describe_workload(hub: "HubClient", name: Name, output: Output = Format.TABLE) -> None:
    """Show one workload: its members and every object, in the API servers' own words."""
    from arbora.cli.output import show_one
    from arbora.cli.workload_view import describe

    found = await hub.workloads.get(name)
    view = View(output)
    why = await hub.workloads.explain(name) if found.pending and not view.structured else None
    show_one(found, lambda: describe(found, why), view)


@hub_command(app, "explain", "arbora workloads explain train-llm", "arbora workloads explain train-llm -o wide")
async def explain_workload(hub: "HubClient", name: Name, output: Output = Format.TABLE) -> None:
    """Say why a workload is where it is, and not elsewhere.

    Members it could run on come with their scores, the best first; a ? stands where nothing was known.
    """
    from arbora.cli.console import write
    from arbora.cli.explain_view import explanation_lines
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain

    explanation = await hub.workloads.explain(name)
    if (view := View(output)).structured:
        show_data(to_plain(explanation), output)
    else:
        write("\n".join(explanation_lines(explanation, view.wide)))


@hub_command(
    app,
    "rebalance",
    "arbora workloads rebalance train-llm --dry-run",
    "arbora workloads rebalance train-llm",
)
async def rebalance_workload(
    hub: "HubClient",
    name: Name,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would move, member by member; change nothing.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Divide a workload afresh over the members. Nothing else moves what is placed.

    Members whose replicas change are listed with what they had before and have after it.
    """
    from arbora.cli.console import write
    from arbora.cli.explain_view import explanation_lines
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain
    from arbora.cli.workload_view import move_lines

    answer = await hub.workloads.rebalance(name, dry_run=dry_run)
    if (view := View(output)).structured:
        show_data(to_plain(answer), output)
        return
    if dry_run:
        outcome = f"would {'' if answer.moves else 'not '}move (dry run)"
    else:
        outcome = "rebalanced" if answer.moves else "unchanged"
    lines = [f"workload/{name} {outcome}", *move_lines(answer.moves)]
    write("\n".join([*lines, *explanation_lines(answer.explanation, view.wide)]))


@hub_command(app, "delete", "arbora workloads delete train-llm --yes --wait")
async def delete_workload(
    hub: "HubClient",
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Their names.")],
    orphan: Annotated[
        bool, typer.Option("--orphan", help="Forget it although members that can't be reached still run it.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is gone everywhere.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait.")] = "5m",
    yes: Yes = False,
) -> None:
    """Withdraw workloads from all members, then forget them."""
    from arbora.cli.console import confirm, write
    from arbora.cli.durations import parse_duration
    from arbora.workloads.model import State

    limit = parse_duration(timeout, "--timeout").total_seconds()
    for name in names:
        found = await hub.workloads.get(name)
        confirm(f"Delete workload {name} from {len(found.assignments)} members?", yes)
    for name in names:
        await hub.workloads.delete(name, orphan=orphan)
        if wait:
            await hub.workloads.wait(name, State.DELETED, limit)
        write(f"workload/{name} {'deleted' if wait else 'deleting'}")


@hub_command(app, "watch", "arbora workloads watch", "arbora workloads watch train-llm -o json")
async def watch_workloads(
    hub: "HubClient",
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one.")] = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
) -> None:
    """Show workloads, and again whenever one changes, until Ctrl-C."""
    from contextlib import aclosing

    from arbora.cli.console import write
    from arbora.cli.lines import Lines
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain
    from arbora.cli.workload_view import COLUMNS

    view = View(output, not no_headers)
    lines = Lines(COLUMNS, view)
    first = []
    synced = False
    async with aclosing(hub.workloads.watch(name)) as changes:
        async for change in changes:
            if view.structured:
                if change.HasField("workload"):
                    data = {"gone": change.gone, "workload": to_plain(change.workload)}
                    show_data(data, output, one_line=True)
                continue
            if change.HasField("workload"):
                if not synced:
                    first.append(change.workload)
                elif change.gone:
                    write(f"{change.workload.name} is gone")
                else:
                    lines.fit([change.workload])
                    lines.print(change.workload)
            if change.synced and not synced:
                synced = True
                lines.fit(first)
                lines.print_header()
                for workload in first:
                    lines.print(workload)
