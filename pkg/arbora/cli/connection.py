"""Commands that talk to a hub: `hub_command` gives a coroutine its client and its --context options.

A command is a coroutine whose first argument is the `HubClient`. Everything heavy (grpc) is imported when the
command runs, so that `--help` stays quick. This module doesn't print; errors rise to `main.py`.
"""

import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

import typer

from arbora.cli.options import ContextName, HubConfig, examples

if TYPE_CHECKING:
    from arbora.client import HubClient

P = ParamSpec("P")
Body = Callable[Concatenate["HubClient", P], Coroutine[Any, Any, None]]


def hub_command(
    app: typer.Typer, name: str, *shown: str, panel: str | None = None
) -> Callable[[Body[P]], Body[P]]:
    """Register a coroutine as the command `name`; its docstring is the help, `shown` are the examples."""

    def register(body: Body[P]) -> Body[P]:
        own = list(inspect.signature(body).parameters.values())[1:]
        hidden = [
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, default="", annotation=ContextName),
            inspect.Parameter("hub_config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=HubConfig),
        ]

        def command(context: str, hub_config: Path | None, **arguments: Any) -> None:
            bound = cast("Callable[..., Coroutine[Any, Any, None]]", body)
            run_with_hub(lambda hub: bound(hub, **arguments), hub_config, context)

        # Typer builds the options from the signature: the body's own, and ours after them.
        parameters = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *hidden]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        command.__doc__ = body.__doc__
        app.command(name, epilog=examples(*shown), rich_help_panel=panel)(command)
        return body

    return register


def run_with_hub(
    body: "Callable[[HubClient], Coroutine[Any, Any, None]]", config: Path | None, context_name: str
) -> None:
    """Find the hub, connect, run `body`, close. Raises whatever `body` raises."""
    import asyncio

    from arbora.client import HubClient
    from arbora.context import find_context

    _, context = find_context(config, context_name)

    async def connected() -> None:
        async with HubClient.from_context(context) as hub:
            await body(hub)

    try:
        asyncio.run(connected())
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """Of failures that came together, the first says it all to a person."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
