"""Commands that talk to a hub: `hub_command` gives a coroutine its client and its --context options.

A command is a coroutine whose first argument is the `HubClient`; `hub_group` is for a group that does something
by itself. Everything heavy (grpc) is imported when the command runs, so that `--help` stays quick. This module
doesn't print; errors rise to `main.py`.
"""

import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
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
        bound = cast("Callable[..., Coroutine[Any, Any, None]]", body)

        def command(context: str, hub_config: Path | None, **arguments: Any) -> None:
            run_with_hub(lambda hub: bound(hub, **arguments), hub_config, context)

        _take_options(command, body)
        app.command(name, epilog=examples(*shown), rich_help_panel=panel)(command)
        return body

    return register


def hub_group(app: typer.Typer, *shown: str) -> Callable[[Body[P]], Body[P]]:
    """Register a coroutine as what the group `app` does without a subcommand; its docstring is the help."""

    def register(body: Body[P]) -> Body[P]:
        bound = cast("Callable[..., Coroutine[Any, Any, None]]", body)

        def command(ctx: typer.Context, context: str, hub_config: Path | None, **arguments: Any) -> None:
            if ctx.invoked_subcommand is not None:
                _refuse_given(ctx, ctx.invoked_subcommand)
                return
            run_with_hub(lambda hub: bound(hub, **arguments), hub_config, context)

        first = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        _take_options(command, body, first)
        app.callback(invoke_without_command=True, epilog=examples(*shown))(command)
        return body

    return register


def _take_options(command: Callable[..., None], body: Callable[..., Any], *first: inspect.Parameter) -> None:
    """Typer builds the options from the signature: the body's own, and ours after them."""
    own = list(inspect.signature(body).parameters.values())[1:]
    parameters = [
        *first,
        *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, default="", annotation=ContextName),
        inspect.Parameter("hub_config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=HubConfig),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = body.__doc__


def _refuse_given(ctx: typer.Context, subcommand: str) -> None:
    """What stands before the subcommand would have no effect on it. Raises InvalidInput."""
    from arbora.errors import InvalidInput

    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(
                f"{max(option.opts, key=len)} stands before {subcommand}",
                hint=f"Options of a subcommand stand behind it; see `{ctx.command_path} {subcommand} --help`.",
            )


def run_with_hub(
    body: "Callable[[HubClient], Coroutine[Any, Any, None]]", config: Path | None, context_name: str
) -> None:
    """Find the hub, connect, run `body`, close. Raises whatever `body` raises."""
    import asyncio

    from arbora.client import HubClient
    from arbora.context import find_context

    _, context = find_context(config, context_name)

    async def connected() -> None:
        with _interruptible():
            async with HubClient.from_context(context) as hub:
                await body(hub)

    try:
        asyncio.run(connected())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except BaseExceptionGroup as group:
        raise _first(group) from group


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C cancels the command, a second one ends the process.

    asyncio's own handler leaves a gap: a signal that comes just before the loop waits is only seen once
    something else wakes it, which for a quiet watch may be never. The loop's handlers wake it.
    """
    import asyncio
    import os
    import signal

    from arbora.cli.failures import INTERRUPTED

    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        if task is None or task.cancelling():
            os._exit(INTERRUPTED)
        task.cancel()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupt)
    except (NotImplementedError, ValueError, RuntimeError):  # no such signals here, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _first(error: BaseException) -> BaseException:
    """Of failures that came together, the first says it all to a person."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
