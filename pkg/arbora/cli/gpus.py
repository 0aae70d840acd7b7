"""`arbora gpus`: what there is and what is free, and what the devices say of themselves: list, describe, top."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from arbora.cli.connection import hub_command, hub_group
from arbora.cli.formats import Format, View
from arbora.cli.members import Selector
from arbora.cli.options import NoHeaders, Output

if TYPE_CHECKING:
    from arbora.cli.gpu_top_view import Found
    from arbora.client import HubClient
    from arbora.client.gpus import Grouping
    from arbora.v1 import member_pb2

app = typer.Typer()

PATIENCE = 10.0
"""Seconds that a live view waits for an answer before it says that there is none."""


class By(StrEnum):
    """What one line is."""

    CLASS = "class"
    MEMBER = "member"
    NODE = "node"
    GPU = "gpu"


class HealthName(StrEnum):
    """The health of a device."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
    RECOVERING = "recovering"


At = Annotated[str, typer.Argument(metavar="[PATH]", help="A hub or a member; default: the context's hub.")]
ByWhat = Annotated[By, typer.Option("--by", help="What one line is; by node, PATH is a member.")]


@hub_group(app, "arbora gpus -l zone=b", "arbora gpus -o wide", "arbora gpus list edge-7 --by gpu")
async def gpus(
    hub: "HubClient", selector: Selector = "", output: Output = Format.TABLE, no_headers: NoHeaders = False
) -> None:
    """GPUs: by class over all members, unless a subcommand asks for something else.

    Those of lost members are not counted (see -o wide), those of cordoned members are not free.
    """
    await list_gpus(hub, selector=selector, output=output, no_headers=no_headers)


@hub_command(
    app,
    "list",
    "arbora gpus list --by member",
    "arbora gpus list edge-7 --by node",
    "arbora gpus list edge-7 --by gpu --health unhealthy -o wide",
)
async def list_gpus(
    hub: "HubClient",
    path: At = "",
    by: ByWhat = By.CLASS,
    selector: Selector = "",
    node: Annotated[str, typer.Option("--node", metavar="NAME", help="By gpu: only those of this node.")] = "",
    product: Annotated[
        str, typer.Option("--product", metavar="NAME", help="By gpu: only those of this product.")
    ] = "",
    health: Annotated[
        HealthName | None, typer.Option("--health", help="By gpu: only those of this health.")
    ] = None,
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
) -> None:
    """List GPUs: summed up by class, member or node, or one by one.

    FREE, USED and TOTAL are what Kubernetes counts; the rest is what devices say.
    A ? marks what was said last by GPUs that are not heard of now.
    By class it is what `arbora gpus` alone shows.
    """
    from arbora.cli import gpu_view
    from arbora.cli.console import can_draw
    from arbora.cli.output import show_list

    _check(by, selector, {"--node": node, "--product": product, "--health": health or ""})
    view = View(output, not no_headers)
    if by is By.GPU:
        await _list_devices(hub, path, node, product, health, view)
        return
    rows = await hub.gpus.summarize(path, cast("Grouping", by.value), selector)
    if by is not By.CLASS:
        show_list(rows, gpu_view.NODE_COLUMNS if by is By.NODE else gpu_view.MEMBER_COLUMNS, view, "GPUs")
        return
    places = gpu_view.where(await _lines(hub, path, selector)) if view.wide or view.structured else {}
    pools = [gpu_view.Pool(row, tuple(places.get(row.name, ()))) for row in rows]
    show_list(pools, gpu_view.class_columns(can_draw()), view, "GPUs")


@hub_command(
    app,
    "describe",
    "arbora gpus describe GPU-5a1c",
    "arbora gpus describe GPU-5a1c --in /eu/edge-7 --history 24h",
)
async def describe_gpu(
    hub: "HubClient",
    uuid: Annotated[str, typer.Argument(metavar="UUID", help="Its UUID, or enough of its beginning.")],
    path: Annotated[
        str, typer.Option("--in", metavar="PATH", help="Its member, or its hub; default: the context's hub.")
    ] = "",
    history: Annotated[
        str, typer.Option("--history", metavar="DURATION", help="How much of its history, 24h at most.")
    ] = "1h",
    output: Output = Format.TABLE,
) -> None:
    """Show one GPU in full: health and why, who holds it, what it measures and has counted, its last hours."""
    import shutil

    from arbora.cli.console import can_draw, is_terminal
    from arbora.cli.durations import parse_duration
    from arbora.cli.gpu_detail_view import Paper, describe
    from arbora.cli.output import show_one

    seconds = min(parse_duration(history, "--history").total_seconds(), 24 * 3600.0)
    found = await hub.gpus.get(uuid, path, seconds)
    paper = Paper(shutil.get_terminal_size().columns if is_terminal() else 0, can_draw())
    show_one(found, lambda: describe(found, seconds, paper), View(output))


@hub_command(
    app, "top", "arbora gpus top", "arbora gpus top edge-7 --every 5s", "arbora gpus top --by member --once"
)
async def top(
    hub: "HubClient",
    path: At = "",
    by: ByWhat = By.GPU,
    every: Annotated[str, typer.Option("--every", metavar="DURATION", help="How often to ask.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
) -> None:
    """Show how busy and how well GPUs are, again and again until Ctrl-C; by gpu the busiest first.

    In a pipe the table is printed again whenever it has changed.
    """
    import asyncio
    from datetime import datetime

    from arbora.cli.console import can_draw
    from arbora.cli.durations import parse_duration
    from arbora.cli.gpu_top_view import Frame, top_lines
    from arbora.cli.screen import Screen
    from arbora.errors import ArboraError

    seconds = parse_duration(every, "--every").total_seconds()
    found = await _find(hub, path, by)
    if by is By.GPU:
        await _tell_of_hubs(hub, path)
    draw = can_draw()  # before the screen puts something else where stdout was
    since, trouble = "", ""
    with Screen(watch=not once) as screen:
        while True:
            screen.show(top_lines(found, by.value, Frame(draw, screen.size), trouble))
            if once:
                return
            await asyncio.sleep(seconds)
            try:
                async with asyncio.timeout(PATIENCE):
                    found = await _find(hub, path, by)
            except (ArboraError, TimeoutError) as error:
                since = since or f"{datetime.now():%H:%M:%S}"
                trouble = f"as it was at {since}: {str(error) or f'no answer within {PATIENCE:g} s'}"
            else:
                since, trouble = "", ""


def _check(by: By, selector: str, of_devices: dict[str, str]) -> None:
    """Options that `by` has no use for are refused. Raises InvalidInput."""
    from arbora.errors import InvalidInput

    if selector and by not in (By.CLASS, By.MEMBER):
        raise InvalidInput(
            f"--selector has no meaning with --by {by}", hint="It chooses members: --by class, --by member."
        )
    for option, value in of_devices.items():
        if value and by is not By.GPU:
            raise InvalidInput(f"{option} has no meaning with --by {by}", hint="It chooses devices: --by gpu.")


async def _list_devices(
    hub: "HubClient", path: str, node: str, product: str, health: HealthName | None, view: View
) -> None:
    from arbora.cli.console import say
    from arbora.cli.gpu_view import GPU_COLUMNS
    from arbora.cli.output import show_list
    from arbora.gpus.health import Health

    wanted = Health[health.name] if health is not None else None
    found = [gpu async for gpu in hub.gpus.list(path, node, product.replace(" ", "-"), wanted)]
    show_list(found, GPU_COLUMNS, view, "GPUs")
    if not view.structured and any(gpu.stale for gpu in found):
        say("a ? marks what was said last: these GPUs are not heard of now")
    await _tell_of_hubs(hub, path)


async def _find(hub: "HubClient", path: str, by: By) -> "Found":
    """What `top` shows."""
    from arbora.cli.gpu_top_view import Found

    if by is By.GPU:
        return Found(gpus=tuple([gpu async for gpu in hub.gpus.list(path)]))
    return Found(rows=tuple(await hub.gpus.summarize(path, cast("Grouping", by.value))))


async def _tell_of_hubs(hub: "HubClient", path: str) -> None:
    """Single devices are known at the hub that owns their member: name the hubs that were not asked."""
    from arbora.cli.console import say
    from arbora.v1 import enrollment_pb2

    hubs = [line.path for line in await _lines(hub, path) if line.kind == enrollment_pb2.CHILD_KIND_HUB]
    if hubs:
        say(f"GPUs below {', '.join(hubs)} are known there: arbora gpus list {hubs[0]} --by gpu")


async def _lines(hub: "HubClient", path: str, selector: str = "") -> "list[member_pb2.MemberLine]":
    """The children of the hub at `path`; of a member itself, which has none, that member."""
    from arbora.errors import NotFound
    from arbora.manifests.matching import matches
    from arbora.manifests.selectors import parse_selector
    from arbora.v1 import member_pb2

    try:
        lines = list((await hub.members.tree(path, 1)).lines)
    except NotFound:  # a member cluster; had the path led nowhere, an earlier call would have said so
        member = await hub.members.get(path)
        line = member_pb2.MemberLine(path=member.path, kind=member.kind, labels=member.labels)
        for sketch in member.sketches:
            line.gpus.add(gpu_class=sketch.gpu_class)
        lines = [line]
    wanted = parse_selector(selector) if selector else None
    return [line for line in lines if wanted is None or matches(wanted, line.labels)]
