"""`arbora token`: short-lived tokens of service accounts in members."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="Short-lived tokens of service accounts in members.")


class TokenFormat(StrEnum):
    """What `token create -o` takes."""

    TOKEN = "token"
    JSON = "json"
    YAML = "yaml"


@hub_command(
    app,
    "create",
    "arbora token create /eu/edge-7 -n team --service-account runner --lifetime 15m",
    "kubectl --token=$(arbora token create edge-7 -n team --service-account ci)",
)
async def create_token(
    hub: "HubClient",
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="The member's name, or its path at any depth.")],
    service_account: Annotated[str, typer.Option("--service-account", help="The service account.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    audience: Annotated[
        list[str] | None, typer.Option("--audience", help="Repeat for more; default: the API server's own.")
    ] = None,
    lifetime: Annotated[
        str, typer.Option("--lifetime", metavar="DURATION", help="How long it should live.")
    ] = "1h",
    output: Annotated[TokenFormat, typer.Option("-o", "--output", help="How to print it.")] = TokenFormat.TOKEN,
) -> None:
    """Ask a member for a token of one of its service accounts.

    The member's own allow-list decides. The token travels sealed: no hub on the way can read it.
    """
    from arbora.cli.console import say, write
    from arbora.cli.durations import parse_duration, show_duration
    from arbora.cli.formats import Format
    from arbora.cli.output import show_data

    wanted = parse_duration(lifetime, "--lifetime")
    token = await hub.tokens.create(member, namespace, service_account, audience or (), wanted)
    seconds = token.lifetime.total_seconds()
    if output is TokenFormat.TOKEN:
        write(token.secret.reveal())
        if token.lifetime < wanted:
            say(f"note: {token.member} made it shorter: {show_duration(seconds)}")
        return
    data = {"member": token.member, "lifetimeSeconds": int(seconds), "token": token.secret.reveal()}
    show_data(data, Format(output.value))
