"""`arbora kubeconfig`: a file with which kubectl reaches a member; `credential-plugin`: what that uses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbora.cli.connection import run_with_hub
from arbora.cli.options import ContextName, HubConfig, examples

if TYPE_CHECKING:
    from arbora.client import HubClient


def register(app: typer.Typer, panel: str) -> None:
    """Add both commands."""
    app.command(
        "kubeconfig",
        rich_help_panel=panel,
        epilog=examples(
            "arbora kubeconfig edge-7 --service-account team/ana > edge-7.yaml",
            "kubectl --kubeconfig edge-7.yaml get pods",
        ),
    )(kubeconfig)
    app.command(
        "credential-plugin",
        rich_help_panel=panel,
        epilog=examples("arbora credential-plugin --member edge-7 --service-account team/ana"),
    )(credential_plugin)


Member = Annotated[str, typer.Argument(metavar="MEMBER", help="The member's name, or its path at any depth.")]
Account = Annotated[
    str, typer.Option("--service-account", metavar="NS/NAME", help="As whom; the member has to allow its tokens.")
]


def kubeconfig(
    member: Member,
    service_account: Account,
    lifetime: Annotated[
        str,
        typer.Option("--lifetime", metavar="DURATION", help="How long it is good for; default: until revoked."),
    ] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The context's namespace.")] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write it there, for its owner; default: print it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
    context: ContextName = "",
    hub_config: HubConfig = None,
) -> None:
    """Print a kubeconfig for a member: through the hub's gateway, also where the member can't be dialed.

    It holds a token that opens the way to this one member; `arbora access revoke` ends it.
    Who may do what there is decided by the member's own RBAC for the service account.
    """
    from arbora.errors import Conflict

    if out is not None and out.exists() and not force:
        raise Conflict(f"{out} exists", hint="Name another file, or overwrite it with --force.")
    run_with_hub(
        lambda hub: _make(hub, member, service_account, lifetime, namespace, out, context, hub_config),
        hub_config,
        context,
    )


async def _make(
    hub: "HubClient",
    member: str,
    account: str,
    lifetime: str,
    namespace: str,
    out: Path | None,
    context: str,
    hub_config: Path | None,
) -> None:
    from arbora.cli.console import say, write
    from arbora.cli.durations import parse_duration
    from arbora.client.kubeconfig import kubeconfig as build
    from arbora.client.kubeconfig import proxy_url
    from arbora.context import locate_context
    from arbora.errors import InvalidInput, Unavailable
    from arbora.files import write_atomic
    from arbora.manifests.strict_yaml import dump_yaml
    from arbora.secret import Secret

    space, _, name = account.partition("/")
    if not space or not name or "/" in name:
        raise InvalidInput(f"{account!r} is not namespace/account", field="--service-account")
    found = await hub.members.get(member)
    if not found.status.reachable:
        raise Unavailable(
            f"there is no way into {found.path}",
            hint="It is simulated, does not allow tunnels, or has not reported yet.",
        )
    # That a token is refused is better said now than by kubectl.
    await hub.tokens.create(member, space, name)
    made = await hub.connect_tokens.create(member, parse_duration(lifetime, "--lifetime") if lifetime else None)
    # Before anything else can fail: from now on the way is open.
    say(f"the way is open as the access {made.name}; end it with: arbora access revoke {made.name}")
    file, chosen, _ = locate_context(hub_config, context)
    where = ["--hub-config", str(file.absolute()), "--context", chosen]
    command = [*_program(), "credential-plugin", "--member", found.path, "--service-account", account, *where]
    proxy = proxy_url(made.user, Secret(made.token), made.gateway)
    title = found.path.strip("/").replace("/", "-")
    text = dump_yaml([build(title, proxy, found.status.api_ca_pem + made.ca_pem, command, namespace)])
    if out is None:
        write(text)
    else:
        write_atomic(out, text.encode(), 0o600)


def _program() -> list[str]:
    """How this program is started, for a client that may have another PATH."""
    import shutil
    import sys

    found = shutil.which("arbora")
    return [found] if found else [sys.executable, "-m", "arbora"]


def credential_plugin(
    member: Annotated[
        str, typer.Option("--member", metavar="PATH", help="Default: what the client's cluster says.")
    ] = "",
    service_account: Annotated[str, typer.Option("--service-account", metavar="NS/NAME", help="As whom.")] = "",
    audience: Annotated[str, typer.Option("--audience", help="Default: the API server's own.")] = "",
    lifetime: Annotated[
        str, typer.Option("--lifetime", metavar="DURATION", help="How long it should live.")
    ] = "1h",
    context: ContextName = "",
    hub_config: HubConfig = None,
) -> None:
    """Answer client-go as a credential plugin: kubectl and others run this, as a kubeconfig says.

    A token that is still good is kept, readable for its owner only, below the user's cache directory.
    """
    from arbora.cli.credential_plugin import main

    options: dict[str, Any] = {
        "--member": member,
        "--service-account": service_account,
        "--audience": audience,
        "--lifetime": lifetime,
        "--context": context,
        "--hub-config": str(hub_config or ""),
    }
    raise typer.Exit(main([part for name, value in options.items() if value for part in (name, value)]))
