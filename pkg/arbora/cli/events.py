"""`arbora events` and `arbora audit`: what happened, and who changed what. The newest is at the end."""

from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from arbora.client import HubClient
    from arbora.v1 import event_pb2

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, the newest.")]


def register(root: typer.Typer, panel: str) -> None:
    """Add both commands to the root."""
    shown = ("arbora events --subject /eu/edge-7", "arbora events --watch")
    hub_command(root, "events", *shown, panel=panel)(list_events)
    hub_command(root, "audit", "arbora audit --limit 20 -o wide", panel=panel)(list_audit)


async def list_events(
    hub: "HubClient",
    subject: Annotated[
        str, typer.Option("--subject", help="Only about this, or what is below it: /eu/edge-7, workload/web.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then show events as they happen.")] = False,
    limit: Limit = 50,
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
) -> None:
    """Show what happened."""
    from arbora.cli.event_view import EVENT_COLUMNS
    from arbora.cli.output import show_list

    view = View(output, not no_headers)
    if not watch:
        show_list((await _newest(hub, subject, limit))[::-1], EVENT_COLUMNS, view, "events")
        return
    await _follow(hub, subject, limit, view)


async def _newest(hub: "HubClient", subject: str, limit: int) -> "list[event_pb2.Event]":
    from contextlib import aclosing

    found: list[event_pb2.Event] = []
    async with aclosing(hub.events.list(subject)) as events:
        async for event in events:
            found.append(event)
            if len(found) == limit:
                break
    return found


async def _follow(hub: "HubClient", subject: str, limit: int, view: View) -> None:
    """The newest ones, then each new one. The watch is asked for before the list, so that the two overlap."""
    import asyncio
    from contextlib import aclosing

    from arbora.cli.console import say
    from arbora.cli.event_view import EVENT_COLUMNS
    from arbora.cli.lines import Lines
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain

    lines = Lines(EVENT_COLUMNS, view)
    shown: set[str] = set()

    def show(event: "event_pb2.Event") -> None:
        if event.id in shown:
            return
        if view.structured:
            show_data(to_plain(event), view.format, one_line=True)
        else:
            lines.fit([event])
            lines.print(event)

    async with aclosing(hub.events.watch(subject)) as changes:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_next(changes))
            earlier = (await _newest(hub, subject, limit))[::-1]
            lines.fit(earlier)
            if not view.structured:
                lines.print_header()
            for event in earlier:
                show(event)
            shown.update(event.id for event in earlier)
        change = first.result()
        while change is not None:
            if change.skipped:
                say(f"note: {change.skipped} events were skipped; see `arbora events`")
            show(change.event)
            change = await _next(changes)


async def _next(
    changes: "AsyncGenerator[event_pb2.WatchEventsResponse, None]",
) -> "event_pb2.WatchEventsResponse | None":
    return await anext(changes, None)


async def list_audit(
    hub: "HubClient", limit: Limit = 50, output: Output = Format.TABLE, no_headers: NoHeaders = False
) -> None:
    """Show who changed what, or was refused."""
    from contextlib import aclosing

    from arbora.cli.event_view import AUDIT_COLUMNS
    from arbora.cli.output import show_list

    found: list[event_pb2.AuditEntry] = []
    async with aclosing(hub.audit.list()) as entries:
        async for entry in entries:
            found.append(entry)
            if len(found) == limit:
                break
    show_list(found[::-1], AUDIT_COLUMNS, View(output, not no_headers), "audit entries")
