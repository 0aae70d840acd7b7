"""`arbora hub`: run a hub, look at one, rotate its CA."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import Output, examples

if TYPE_CHECKING:
    from arbora.client import HubClient

app = typer.Typer(no_args_is_help=True, help="Run a hub, look at it, rotate its CA.")


class StepName(StrEnum):
    """A step of the CA rotation."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    RETIRE = "retire"


@app.command("serve", epilog=examples("arbora hub serve --advertise hub.example.org"))
def serve(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="DIR", envvar="ARBORA_DATA_DIR", help="Database, CA keys, admin context."
        ),
    ] = None,
    client_address: Annotated[
        str, typer.Option("--client-address", metavar="HOST:PORT", help="Where clients connect.")
    ] = "127.0.0.1:7443",
    join_address: Annotated[
        str, typer.Option("--join-address", metavar="HOST:PORT", help="Where children enroll; port 7444.")
    ] = "",
    session_address: Annotated[
        str, typer.Option("--session-address", metavar="HOST:PORT", help="Where children hold sessions: 7445.")
    ] = "",
    advertise: Annotated[
        str, typer.Option("--advertise", metavar="HOST", help="Name or IP under which children reach this hub.")
    ] = "",
    trust_domain: Annotated[
        str,
        typer.Option("--trust-domain", metavar="DOMAIN", help="SPIFFE trust domain, fixed at the first start."),
    ] = "",
    prices: Annotated[
        str, typer.Option("--prices", metavar="FILE|URL", help="Prices of GPUs, for placement by cost.")
    ] = "",
    server_name: Annotated[
        list[str] | None,
        typer.Option("--server-name", metavar="NAME", help="A further name in the certificate; repeat for more."),
    ] = None,
) -> None:
    """Run a hub until it is told to stop (SIGTERM or Ctrl-C).

    At its first start it makes its CA and an admin's access, which `arbora` on this machine finds by itself.
    """
    import os

    from arbora.cli.daemon import load, run_daemon
    from arbora.context import hub_data_dir

    settings = load("arbora_hub.settings", "hub").HubSettings(
        data_dir=data_dir or hub_data_dir(os.environ),
        client_address=_everywhere(client_address),
        join_address=_everywhere(join_address),
        session_address=_everywhere(session_address),
        advertise=advertise,
        trust_domain=trust_domain,
        prices=prices,
        extra_names=tuple(server_name or ()),
    )
    app_module = load("arbora_hub.app", "hub")
    run_daemon(lambda stop: app_module.serve(settings, stop, _announce))


def _announce(hub: Any) -> None:
    """Say on a terminal what to do next."""
    import sys

    from arbora.cli.console import say

    if sys.stderr.isatty():
        say(
            f"hub {hub.authority.trust_domain} is up: clients {hub.client_address}, children {hub.join_address}\n"
            "next, in another terminal:  arbora join-token create"
        )


def _everywhere(address: str) -> str:
    """`:7444` means every interface."""
    return f"0.0.0.0{address}" if address.startswith(":") else address


@hub_command(app, "info", "arbora hub info", "arbora hub info -o json | jq .members")
async def info(hub: "HubClient", output: Output = Format.TABLE) -> None:
    """Show a hub: version, addresses, members, CAs."""
    from arbora.cli.access_view import describe_hub
    from arbora.cli.output import show_one

    found = await hub.info()
    show_one(found, lambda: describe_hub(found, hub.address), View(output))


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
