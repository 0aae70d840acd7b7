"""`arbora hub`: run a hub, look at one, put it below another, rotate its CA."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbora.cli.connection import hub_command
from arbora.cli.formats import Format, View
from arbora.cli.options import Output, examples

if TYPE_CHECKING:
    from arbora.client import HubClient
    from arbora.secret import Secret
    from arbora.v1 import access_pb2

TREE = "Tree"
KUBERNETES = "Kubernetes"
app = typer.Typer(no_args_is_help=True, help="Run a hub, look at it, put it below another, rotate its CA.")


class Export(StrEnum):
    """What the hub above hears of members below."""

    LINES = "lines"
    SUMMARY = "summary"


class StepName(StrEnum):
    """A step of the CA rotation."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    RETIRE = "retire"


@app.command(
    "serve",
    epilog=examples(
        "arbora hub serve --advertise hub.example.org",
        "arbora hub serve --parent root.example.org:7444 --join-token arb1.… --name eu",
    ),
)
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
    parent: Annotated[
        str,
        typer.Option(
            "--parent",
            metavar="HOST:PORT",
            envvar="ARBORA_PARENT",
            help="Join address of the hub above (first start).",
            rich_help_panel=TREE,
        ),
    ] = "",
    join_token: Annotated[
        str,
        typer.Option(
            "--join-token",
            metavar="TOKEN",
            envvar="ARBORA_JOIN_TOKEN",
            help="Made there, of kind hub (first start only).",
            rich_help_panel=TREE,
        ),
    ] = "",
    join_token_file: Annotated[
        Path | None,
        typer.Option("--join-token-file", metavar="FILE", help="A file that holds it.", rich_help_panel=TREE),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            envvar="ARBORA_NAME",
            help="This hub's name there; default: the join token's.",
            rich_help_panel=TREE,
        ),
    ] = "",
    standby: Annotated[
        list[str] | None,
        typer.Option(
            "--standby",
            metavar="HOST:PORT=TOKEN",
            envvar="ARBORA_STANDBY",
            help="A parent for when the first can't be reached; repeat for more.",
            rich_help_panel=TREE,
        ),
    ] = None,
    export: Annotated[
        Export,
        typer.Option(
            "--export",
            envvar="ARBORA_EXPORT",
            help="What goes up: a line for each member below, or sums only.",
            rich_help_panel=TREE,
        ),
    ] = Export.LINES,
    coalesce: Annotated[
        float,
        typer.Option(
            "--coalesce",
            metavar="SECONDS",
            envvar="ARBORA_COALESCE",
            min=0.0,
            max=60.0,
            help="Changes of GPUs go up at most this often.",
            rich_help_panel=TREE,
        ),
    ] = 0.25,
    gateway_address: Annotated[
        str,
        typer.Option(
            "--gateway-address",
            metavar="HOST:PORT",
            envvar="ARBORA_GATEWAY_ADDRESS",
            help="Serve ways into members here, such as :7447.",
        ),
    ] = "",
    metrics_address: Annotated[
        str,
        typer.Option(
            "--metrics-address",
            metavar="HOST:PORT",
            envvar="ARBORA_METRICS_ADDRESS",
            help="Serve metrics for Prometheus here, such as :9400.",
        ),
    ] = "",
    kubernetes: Annotated[
        bool,
        typer.Option(
            "--kubernetes/--no-kubernetes",
            envvar="ARBORA_KUBERNETES",
            help="Have a face in Kubernetes where this hub has an API server.",
            rich_help_panel=KUBERNETES,
        ),
    ] = True,
    kubeconfig: Annotated[
        str,
        typer.Option(
            "--kubeconfig",
            metavar="FILE",
            help="Of that API server; default: the pod's own service account.",
            rich_help_panel=KUBERNETES,
        ),
    ] = "",
    context: Annotated[
        str,
        typer.Option("--context", metavar="NAME", help="A context of it.", rich_help_panel=KUBERNETES),
    ] = "",
    manager: Annotated[
        str,
        typer.Option(
            "--manager",
            metavar="NAME",
            envvar="ARBORA_MANAGER",
            help="The name under which this hub manages ClusterProfiles there.",
            rich_help_panel=KUBERNETES,
        ),
    ] = "arbora",
) -> None:
    """Run a hub until it is told to stop (SIGTERM or Ctrl-C).

    At its first start it makes its CA and an admin's access, which `arbora` on this machine finds by itself.
    With --parent it is a part of a tree; it serves all the same while its parent can't be reached.
    """
    import os

    from arbora.cli.daemon import load, run_daemon
    from arbora.context import hub_data_dir
    from arbora.secret import Secret

    settings = load("arbora_hub.settings", "hub").HubSettings(
        data_dir=data_dir or hub_data_dir(os.environ),
        client_address=_everywhere(client_address),
        join_address=_everywhere(join_address),
        session_address=_everywhere(session_address),
        advertise=advertise,
        trust_domain=trust_domain,
        prices=prices,
        parent=parent,
        join_token=Secret(_token_of(join_token, join_token_file)),
        name=name,
        standby=tuple(_standby(text) for text in standby or ()),
        export=export.value,
        coalesce_seconds=coalesce,
        metrics_address=metrics_address,
        gateway_address=gateway_address,
        kubernetes=kubernetes,
        kubeconfig=kubeconfig,
        context=context,
        manager_name=manager,
        extra_names=tuple(server_name or ()),
    )
    if metrics_address:
        load("arbora.metrics", "hub")  # a library that is missing is said here
    app_module = load("arbora_hub.app", "hub")
    run_daemon(lambda stop: app_module.serve(settings, stop, _announce))


def _token_of(text: str, file: Path | None) -> str:
    """The join token, from the option or its file. Raises InvalidInput."""
    from arbora.errors import InvalidInput

    if text and file is not None:
        raise InvalidInput("--join-token and --join-token-file are given at once", hint="Give one of them.")
    if file is None:
        return text.strip()
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the join token file {file} can't be read") from error


def _standby(text: str) -> "tuple[str, Secret]":
    """`HOST:PORT=TOKEN`. Raises InvalidInput, which never repeats the token."""
    from arbora.errors import InvalidInput
    from arbora.secret import Secret

    address, separator, token = text.partition("=")
    if not separator or not address or not token:
        raise InvalidInput("is not an address and a join token", field="--standby", hint="Write HOST:PORT=TOKEN.")
    return address, Secret(token)


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
