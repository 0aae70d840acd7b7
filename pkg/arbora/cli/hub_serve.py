"""`arbora hub serve`: run a hub."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from arbora.secret import Secret

TREE = "Tree"
KUBERNETES = "Kubernetes"


class Export(StrEnum):
    """What the hub above hears of members below."""

    LINES = "lines"
    SUMMARY = "summary"


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
    gateway_admit: Annotated[
        list[str] | None,
        typer.Option(
            "--gateway-admit",
            metavar="CIDR",
            envvar="ARBORA_GATEWAY_ADMIT",
            help="Clients from there need no connect token; repeat for more.",
        ),
    ] = None,
    gateway_reverse: Annotated[
        bool,
        typer.Option(
            "--gateway-reverse",
            envvar="ARBORA_GATEWAY_REVERSE",
            help="Serve them /clusters/MEMBER/ as well, with TLS that ends here.",
        ),
    ] = False,
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
        gateway_admit=tuple(gateway_admit or ()),
        gateway_reverse=gateway_reverse,
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
