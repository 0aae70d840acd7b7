"""`arbora token`: short-lived tokens of service accounts in members, and the rights that come with them."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="Short-lived tokens of service accounts in members.")

Member = Annotated[str, typer.Argument(metavar="MEMBER", help="The member's name, or its path at any depth.")]


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
    "arbora token create edge-7 -n team --service-account ci --role team/deployer",
)
async def create_token(
    hub: "HubClient",
    member: Member,
    service_account: Annotated[str, typer.Option("--service-account", help="The service account.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    audience: Annotated[
        list[str] | None, typer.Option("--audience", help="Repeat for more; default: the API server's own.")
    ] = None,
    lifetime: Annotated[
        str, typer.Option("--lifetime", metavar="DURATION", help="How long it should live.")
    ] = "1h",
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="NS/NAME", help="Bind this role to the account; repeat for more."),
    ] = None,
    cluster_role: Annotated[
        list[str] | None,
        typer.Option("--cluster-role", metavar="NAME", help="Likewise, for the whole cluster."),
    ] = None,
    grant: Annotated[
        str,
        typer.Option(
            "--grant",
            metavar="ID",
            help="Under which these roles are kept; default: made of the account and you.",
        ),
    ] = "",
    output: Annotated[TokenFormat, typer.Option("-o", "--output", help="How to print it.")] = TokenFormat.TOKEN,
) -> None:
    """Ask a member for a token of one of its service accounts.

    The member's own allow-list decides. The token travels sealed: no hub on the way can read it.

    With roles the member makes what is missing, and keeps it until the grant is revoked.
    Roles of an earlier call with the same id that are not asked for any more go.
    """
    from arbora.cli.console import say, write
    from arbora.cli.durations import parse_duration, show_duration
    from arbora.cli.granting import asked_grant, grant_id
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain

    wanted = parse_duration(lifetime, "--lifetime")
    asked = asked_grant(grant, role or (), cluster_role or ()) if role or cluster_role or grant else None
    if asked is not None and not grant:
        asked.id = grant_id(namespace, service_account, (await hub.access.whoami()).name)
    token = await hub.tokens.create(member, namespace, service_account, audience or (), wanted, grant=asked)
    seconds = token.lifetime.total_seconds()
    if asked is not None:
        say(f"note: grant {asked.id}; end it with: arbora token revoke {token.member} {asked.id}")
    if output is TokenFormat.TOKEN:
        write(token.secret.reveal())
        if token.lifetime < wanted:
            say(f"note: {token.member} made it shorter: {show_duration(seconds)}")
        return
    data = {"member": token.member, "lifetimeSeconds": int(seconds), "token": token.secret.reveal()}
    if asked is not None:
        data |= {"grant": asked.id, "steps": [to_plain(step) for step in token.steps]}
    show_data(data, Format(output.value))


@hub_command(app, "list", "arbora token list edge-7", "arbora token list /eu/edge-7 -o json")
async def list_grants(
    hub: "HubClient", member: Member, output: Output = Format.TABLE, no_headers: NoHeaders = False
) -> None:
    """List the grants that a member keeps: roles that came with tokens, until they are revoked.

    Tokens themselves are kept nowhere. `-o wide` shows what would be deleted with each grant.
    """
    from arbora.cli.granting import GRANT_COLUMNS
    from arbora.cli.output import show_list

    show_list(await hub.tokens.grants(member), GRANT_COLUMNS, View(output, not no_headers), "grants")


@hub_command(app, "revoke", "arbora token revoke edge-7 ci-2f9c41d0")
async def revoke_grant(
    hub: "HubClient",
    member: Member,
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="Its id, from the list.")],
) -> None:
    """Take a grant back: its bindings go; accounts and roles made for it go with the last grant that uses them.

    Tokens of an account that goes are dead at once. Those of one that stays lose these roles.
    """
    from arbora.cli.console import write

    await hub.tokens.revoke(member, grant)
    write(f"grant {grant} revoked")
