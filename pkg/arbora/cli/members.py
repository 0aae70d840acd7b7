"""`arbora members`: list, tree, describe, label, taint, cordon, uncordon, evict."""

from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output, Yes

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="Member clusters and child hubs.")

Member = Annotated[
    str, typer.Argument(metavar="MEMBER", help="Its name, or its path at any depth: /eu/paris/edge-7.")
]
Selector = Annotated[
    str, typer.Option("--selector", "-l", metavar="SELECTOR", help="Only those with these labels, as in kubectl.")
]


@hub_command(app, "list", "arbora members list -l gpu=h100 -o wide")
async def list_members(
    hub: "HubClient", selector: Selector = "", output: Output = Format.TABLE, no_headers: NoHeaders = False
) -> None:
    """List members with their state and free GPUs."""
    from arbora.cli.member_view import COLUMNS
    from arbora.cli.output import show_list

    members = [member async for member in hub.members.list(selector)]
    show_list(members, COLUMNS, View(output, not no_headers), "members")


@hub_command(
    app, "tree", "arbora members tree --watch", "arbora members tree /eu --depth 1", "arbora members tree -o json"
)
async def show_tree(
    hub: "HubClient",
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A hub; default: the one of the context.")] = "",
    depth: Annotated[int, typer.Option("--depth", min=0, max=16, help="Levels at most; 0: all.")] = 0,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Ask again every 2 s, until Ctrl-C.")] = False,
    selector: Selector = "",
    output: Output = Format.TABLE,
) -> None:
    """Show hubs and members as the tree that they form, with their GPUs.

    Every hub below is asked. Of one that does not answer that is said, and shown is what it said last.
    """
    import asyncio

    from arbora.cli.console import say
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain
    from arbora.cli.tree_view import REFRESH_SECONDS, TreeScreen, selected
    from arbora.manifests.selectors import parse_selector

    wanted = parse_selector(selector) if selector else None
    with TreeScreen(watch and output not in (Format.JSON, Format.YAML)) as screen:
        while True:
            tree = await hub.members.tree(path, depth)
            found = selected(tree, wanted) if wanted is not None else tree
            if output in (Format.JSON, Format.YAML):
                show_data(to_plain(found), output, one_line=watch)
            elif found.lines or found.gaps or watch:
                screen.show(found, path)
            else:
                say("no members")
            if not watch:
                return
            await asyncio.sleep(REFRESH_SECONDS)


@hub_command(app, "describe", "arbora members describe edge-7")
async def describe_member(hub: "HubClient", member: Member, output: Output = Format.TABLE) -> None:
    """Show all that is known of one member."""
    from arbora.cli.member_view import describe
    from arbora.cli.output import show_one

    found = await hub.members.get(member)
    show_one(found, lambda: describe(found), View(output))


@hub_command(app, "label", "arbora members label /eu/edge-7 gpu=h100 zone=b", "arbora members label edge-7 zone-")
async def label_member(
    hub: "HubClient",
    member: Member,
    labels: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-...", help="Set, or remove with a dash.")],
) -> None:
    """Set labels of a member, or remove them."""
    from arbora.cli.console import write
    from arbora.cli.labels import parse_labels, show_labels

    added, removed = parse_labels(labels)
    found = await hub.members.label(member, added, removed)
    write(f"member {found.path} labeled: {show_labels(found.labels) or 'no labels'}")


@hub_command(
    app,
    "taint",
    "arbora members taint edge-7 team=vision:NoSchedule",
    "arbora members taint edge-7 team:NoSchedule-",
)
async def taint_member(
    hub: "HubClient",
    member: Member,
    taints: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE:EFFECT|KEY:EFFECT-...", help="Set, or remove with a dash.")
    ],
) -> None:
    """Set taints of a member, or remove them."""
    from arbora.cli.console import write
    from arbora.cli.labels import parse_taints, show_taint

    added, removed = parse_taints(taints)
    found = await hub.members.taint(member, added, removed)
    write(f"member {found.path} tainted: {', '.join(show_taint(t) for t in found.taints) or 'no taints'}")


@hub_command(app, "cordon", "arbora members cordon edge-7")
async def cordon_member(hub: "HubClient", member: Member) -> None:
    """Keep new work away from a member."""
    from arbora.cli.console import write

    write(f"member {(await hub.members.cordon(member, True)).path} cordoned")


@hub_command(app, "uncordon", "arbora members uncordon edge-7")
async def uncordon_member(hub: "HubClient", member: Member) -> None:
    """Let new work come to a member again."""
    from arbora.cli.console import write

    write(f"member {(await hub.members.cordon(member, False)).path} uncordoned")


@hub_command(app, "evict", "arbora members evict edge-7 --reason 'sold' --yes")
async def evict_member(
    hub: "HubClient",
    member: Member,
    reason: Annotated[str, typer.Option("--reason", help="For the audit log and the member itself.")] = "",
    yes: Yes = False,
) -> None:
    """Deny a member's identity, close its session and forget it.

    What runs in the member goes on running. To come back it needs a new join token.
    """
    from arbora.cli.console import confirm, write

    found = await hub.members.get(member)
    confirm(f"Evict {found.path}, which has {found.workloads} workloads?", yes)
    await hub.members.evict(found.path, reason)
    write(f"member {found.path} evicted")
