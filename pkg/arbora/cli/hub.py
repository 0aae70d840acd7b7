"""`arbora hub`: run a hub, look at one, put it below another, rotate its CA."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.hub_serve import serve
from arbora.cli.options import Output, examples

if TYPE_CHECKING:
    from arbora.client import HubClient
    from arbora.v1 import access_pb2

app = typer.Typer(no_args_is_help=True, help="Run a hub, look at it, put it below another, rotate its CA.")
app.command(
    "serve",
    epilog=examples(
        "arbora hub serve --advertise hub.example.org",
        "arbora hub serve --parent root.example.org:7444 --join-token arb1.… --name eu",
    ),
)(serve)


class StepName(StrEnum):
    """A step of the CA rotation."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    RETIRE = "retire"


@hub_command(app, "info", "arbora hub info", "arbora hub info -o json | jq .members")
async def info(hub: "HubClient", output: Output = Format.TABLE) -> None:
    """Show a hub: version, addresses, members, CAs."""
    from arbora.cli.access_view import describe_hub
    from arbora.cli.output import show_one

    found = await hub.info()
    show_one(found, lambda: describe_hub(found, hub.address), View(output))


@hub_command(
    app,
    "move",
    "arbora hub move --parent root.example.org:7444 --join-token arb1.…",
    "arbora hub move --parent backup.example.org:7444 --join-token arb1.… --standby",
    "arbora hub move --detach",
)
async def move(
    hub: "HubClient",
    parent: Annotated[
        str, typer.Option("--parent", metavar="HOST:PORT", help="Join address of the new parent.")
    ] = "",
    join_token: Annotated[
        str,
        typer.Option(
            "--join-token",
            metavar="TOKEN",
            envvar="ARBORA_JOIN_TOKEN",
            help="Made there, of kind hub; not needed for a standby.",
        ),
    ] = "",
    standby: Annotated[
        bool, typer.Option("--standby", help="Only as a further parent, for when the others can't be reached.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave all parents and become a root.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="How long to wait until it is connected.")
    ] = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Give a hub another parent. Nothing changes if it can't join there.

    What the parent before had assigned is withdrawn; what was submitted at this hub or below stays.
    """
    from arbora.cli.access_view import uplink_facts
    from arbora.cli.console import say
    from arbora.cli.output import Section, show_one
    from arbora.errors import InvalidInput

    if detach == bool(parent):
        raise InvalidInput("gives no parent, or one too many", hint="Give --parent HOST:PORT, or --detach.")
    if detach:
        answer = await hub.detach()
    else:
        say(f"joining {parent}")
        answer = await hub.move(parent, join_token, standby=standby)
        if not standby:
            answer = await _connected(hub, answer, wait)
    facts = [("Path", answer.path), *(uplink_facts(answer.uplink) if answer.HasField("uplink") else ())]
    show_one(answer, lambda: [Section(facts=facts)], View(output))


async def _connected(
    hub: "HubClient", answer: "access_pb2.MoveHubResponse", wait: float
) -> "access_pb2.MoveHubResponse":
    """Wait until the hub is connected to its new parent, and say what happens. Raises DeadlineExceeded."""
    import asyncio

    from arbora.cli.console import say
    from arbora.errors import DeadlineExceeded, Unavailable
    from arbora.v1 import access_pb2

    said = ""
    clock = asyncio.get_running_loop().time
    end = clock() + wait
    while answer.uplink.phase != "online" and wait > 0:
        sentence = f"{answer.uplink.phase}: {answer.uplink.message}"
        if answer.uplink.phase == "stopped":
            raise Unavailable(f"the new parent does not let the hub in: {answer.uplink.message}")
        if sentence != said:
            say(said := sentence)
        if clock() >= end:
            raise DeadlineExceeded(
                f"the hub has joined {answer.uplink.parent} and is not connected after {wait:g} s",
                hint="It goes on trying: see `arbora hub info`.",
            )
        await asyncio.sleep(0.3)
        found = await hub.info()
        answer = access_pb2.MoveHubResponse(path=found.path, uplink=found.uplink)
    return answer


@hub_command(
    app,
    "rotate-ca",
    "arbora hub rotate-ca prepare",
    "arbora hub rotate-ca activate",
    "arbora hub rotate-ca retire",
)
async def rotate_ca(
    hub: "HubClient",
    step: Annotated[StepName, typer.Argument(help="Each demands the one before.")],
    output: Output = Format.TABLE,
) -> None:
    """Take the rotation of the hub's CA one step on.

    prepare makes a new CA, which children learn to trust; activate lets it sign; retire ends the old one.
    """
    from arbora.cli.access_view import AUTHORITY_HEADERS, authority_rows
    from arbora.cli.console import write
    from arbora.cli.lines import align
    from arbora.cli.output import show_data
    from arbora.cli.plain import to_plain

    keys = await hub.rotate_authority(step.value)
    if output in (Format.JSON, Format.YAML):
        show_data({"items": [to_plain(key) for key in keys]}, output)
    else:
        write("\n".join(align([AUTHORITY_HEADERS, *authority_rows(keys)])))
