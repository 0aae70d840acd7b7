"""Commands that talk to a hub: `hub_command` gives a coroutine its client and its --context options.

A command is a coroutine whose first argument is the `HubClient`. Everything heavy (grpc) is imported when the
command runs, so that `--help` stays quick. This module doesn't print; errors rise to `main.py`.
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
