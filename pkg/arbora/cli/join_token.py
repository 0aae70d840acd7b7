"""`arbora join-token`: what members and child hubs join with."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="What members join with.")


class ChildName(StrEnum):
    """What may join."""

    AGENT = "agent"
    HUB = "hub"


@hub_command(
    app,
    "create",
    "arbora join-token create --name edge-7 --label gpu=h100",
    "TOKEN=$(arbora join-token create --uses 20 --lifetime 8h)",
)
async def create_join_token(
    hub: "HubClient",
    name: Annotated[str, typer.Option("--name", help="Only for this name; default: any.")] = "",
    kind: Annotated[ChildName, typer.Option("--kind", help="What may join with it.")] = ChildName.AGENT,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="A label the member gets; repeat for more."),
    ] = None,
    lifetime: Annotated[
        str, typer.Option("--lifetime", metavar="DURATION", help="How long it can be used.")
    ] = "1h",
    uses: Annotated[int, typer.Option("--uses", min=1, max=1_000_000, help="How many may join with it.")] = 1,
    output: Output = Format.TABLE,
) -> None:
    """Make a join token and print it. It is not kept and can't be shown again."""
    from arbora.cli.console import say, write
    from arbora.cli.durations import parse_duration
    from arbora.cli.labels import parse_labels
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain
    from arbora.v1 import enrollment_pb2

    labels, _ = parse_labels(label or (), removal=False)
    wanted = parse_duration(lifetime, "--lifetime")
    number = enrollment_pb2.ChildKind.Value(f"CHILD_KIND_{kind.name}")
    answer = await hub.join_tokens.create(name, kind=number, labels=labels, lifetime=wanted, uses=uses)
    if output in (Format.JSON, Format.YAML):
        show_data(to_plain(answer), output)
        return
    write(answer.token)
    if kind is ChildName.HUB:
        say(f"note: within {lifetime}: arbora hub serve --parent {answer.join_address} --join-token TOKEN")
    else:
        say(f"note: within {lifetime}: arbora agent run --hub {answer.join_address} --join-token TOKEN")


@hub_command(app, "list", "arbora join-token list")
async def list_join_tokens(
    hub: "HubClient", output: Output = Format.TABLE, no_headers: NoHeaders = False
) -> None:
    """List join tokens that can still be used, without their secrets."""
    from arbora.cli.access_view import JOIN_TOKEN_COLUMNS
    from arbora.cli.output import show_list

    show_list(await hub.join_tokens.list(), JOIN_TOKEN_COLUMNS, View(output, not no_headers), "join tokens")


@hub_command(app, "revoke", "arbora join-token revoke 4f7q2m9xkd")
async def revoke_join_token(
    hub: "HubClient", id: Annotated[str, typer.Argument(metavar="ID", help="Its id, from the list.")]
) -> None:
    """End a join token at once. Who has joined with it stays."""
    from arbora.cli.console import write

    await hub.join_tokens.revoke(id)
    write(f"join token {id} revoked")
