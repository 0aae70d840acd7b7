"""What a member's operator lets others ask for: the options that `agent run` and `agent manifest` share."""

from typing import Annotated

import typer

ALLOW_PANEL = "What the hub's users may ask for"

AllowToken = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-token",
        metavar="NS/ACCOUNT|NS/*",
        envvar="ARBORA_ALLOW_TOKENS",
        help="A service account whose tokens it may give out; repeat for more.",
        rich_help_panel=ALLOW_PANEL,
    ),
]
AllowRole = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-role",
        metavar="NS/ROLE",
        envvar="ARBORA_ALLOW_ROLES",
        help="An existing role that may come with a token, in its namespace; repeat for more.",
        rich_help_panel=ALLOW_PANEL,
    ),
]
AllowClusterRole = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-cluster-role",
        metavar="NAME",
        envvar="ARBORA_ALLOW_CLUSTER_ROLES",
        help="An existing cluster role that may come with a token, for the whole cluster; repeat for more.",
        rich_help_panel=ALLOW_PANEL,
    ),
]
AllowRulesOf = Annotated[
    str,
    typer.Option(
        "--allow-rules-of",
        metavar="NAME",
        envvar="ARBORA_ALLOW_RULES_OF",
        help="Roles may also be asked for by their rules, in every namespace, as far as this cluster role goes.",
        rich_help_panel=ALLOW_PANEL,
    ),
]


def allowed(
    tokens: list[str] | None, roles: list[str] | None, cluster_roles: list[str] | None, rules_of: str
) -> dict[str, tuple[str, ...] | str]:
    """The settings' fields of that name. Raises InvalidInput naming the option; the agent checks the names."""
    return {
        "allow_tokens": _pairs(tokens, "--allow-token", "namespace/account"),
        "allow_roles": _pairs(roles, "--allow-role", "namespace/role"),
        "allow_cluster_roles": tuple(cluster_roles or ()),
        "allow_rules_of": rules_of,
    }


def _pairs(entries: list[str] | None, option: str, form: str) -> tuple[str, ...]:
    from arbora.errors import InvalidInput

    for entry in entries or ():
        namespace, _, name = entry.partition("/")
        if not namespace or not name or "/" in name:
            raise InvalidInput(f"{entry!r} is not {form}", field=option)
    return tuple(entries or ())
