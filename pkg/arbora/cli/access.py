"""`arbora access`: who may talk to the hub, and which hub this machine talks to."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import NoHeaders, Output, examples

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="Who may use the hub, and which hub is used here.")


class RoleName(StrEnum):
    """What an access may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@hub_command(
    app,
    "create",
    "arbora access create ana --role operator --out ana.yaml",
    "arbora access create ci --role viewer --lifetime 90d > ci.yaml",
)
async def create_access(
    hub: "HubClient",
    name: Annotated[str, typer.Argument(metavar="NAME", help="Unique at this hub.")],
    role: Annotated[RoleName, typer.Option("--role", help="What it may do.")] = RoleName.VIEWER,
    lifetime: Annotated[
        str,
        typer.Option("--lifetime", metavar="DURATION", help="How long it lasts; default: until it is revoked."),
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the context there (mode 0600).")
    ] = None,
) -> None:
    """Give somebody access: print a context file, or write it with --out.

    It holds the hub's address and CA and a bearer token, which is not kept and can't be shown again.
    """
    from arbora.cli.console import say, write
    from arbora.cli.durations import parse_duration
    from arbora.context import Context, ContextFile, show_contexts, write_context
    from arbora.errors import Conflict
    from arbora.secret import Secret
    from arbora.v1 import access_pb2

    if out is not None and out.exists():
        raise Conflict(f"{out} is there already", hint="Choose another file, or remove it first.")
    wanted = parse_duration(lifetime, "--lifetime") if lifetime else None
    answer = await hub.access.create(name, access_pb2.Role.Value(f"ROLE_{role.name}"), wanted)
    context = Context(hub.address, answer.ca_pem, Secret(answer.token))
    if out is None:
        write(show_contexts(ContextFile(name, {name: context})))
        return
    write_context(out, name, context)
    write(f"access {name} created, its context is in {out}")
    say(f"note: whoever gets the file takes it with `arbora access use {out.name}`")


@hub_command(app, "list", "arbora access list")
async def list_access(hub: "HubClient", output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """List who has access."""
    from arbora.cli.access_view import ACCESS_COLUMNS
    from arbora.cli.output import show_list

    show_list(await hub.access.list(), ACCESS_COLUMNS, View(output, not no_headers), "access")


@hub_command(app, "revoke", "arbora access revoke ana")
async def revoke_access(
    hub: "HubClient", name: Annotated[str, typer.Argument(metavar="NAME", help="Whose access ends.")]
) -> None:
    """End an access at once."""
    from arbora.cli.console import write

    await hub.access.revoke(name)
    write(f"access {name} revoked")


@hub_command(app, "whoami", "arbora access whoami")
async def whoami(hub: "HubClient", output: Output = Format.TABLE) -> None:
    """Show who you are to the hub."""
    from arbora.cli.access_view import describe_access
    from arbora.cli.output import show_one

    found = await hub.access.whoami()
    show_one(found, lambda: describe_access(found), View(output))


@app.command("use", epilog=examples("arbora access use ana.yaml", "arbora access use prod", "arbora access use"))
def use(
    target: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A context of yours, or a file to take contexts from.")
    ] = "",
) -> None:
    """Choose the hub that is used here, or take over a context file; without argument, list the contexts."""
    import os

    from arbora.cli.console import say, write
    from arbora.context import ContextFile, read_contexts, use_context, user_file, write_context
    from arbora.errors import InvalidInput

    mine = user_file(os.environ)
    if not target:
        file = read_contexts(mine) if mine.exists() else ContextFile()
        for name, context in file.contexts.items():
            write(f"{'*' if name == file.current else ' '} {name}  {context.hub}")
        if not file.contexts:
            say(f"no context in {mine}")
        return
    path = Path(target)
    if path.is_file():
        taken = read_contexts(path)
        if not taken.contexts:
            raise InvalidInput(f"{target} holds no context")
        for name, context in taken.contexts.items():
            write_context(mine, name, context, make_current=name == taken.current or len(taken.contexts) == 1)
        write(f"took {', '.join(taken.contexts)} over into {mine}")
        return
    use_context(mine, target)
    write(f"{target} is the current context now")
