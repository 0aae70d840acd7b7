"""Running a daemon from the command line: load its code, say what happens, stop in order when told to.

The hub's and the agent's code is loaded only here, because a client's installation need not hold it.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from arbora.errors import NotFound


def load(module: str, extra: str) -> Any:
    """The module `module` of the hub or the agent.

    extra: what to install for it. Raises NotFound saying so if it, or a library it needs, is not there.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise NotFound(
            f"the {extra} is not installed here: there is no {error.name}",
            hint=f"Install it with: pip install 'arbora[{extra}]'",
        ) from error


def log_to_stderr(environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """One line per decision on standard error: for people on a terminal, key=value elsewhere.

    ARBORA_LOG_LEVEL: debug, info (default), warning, error.
    """
    level = getattr(logging, environ.get("ARBORA_LOG_LEVEL", "info").upper(), logging.INFO)
    people = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in environ)
            if people
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def run_daemon(body: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    log_to_stderr()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> None:
            if stop.is_set():
                os._exit(130)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        await body(stop)

    asyncio.run(main())
