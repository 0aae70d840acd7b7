"""`python -m bench`: measures the claims of docs/benchmarks.md on this machine.

    arguments -> topics, one after the other -> a table, and bench/results/<topic>.json

A target that is missed changes nothing in the exit code; a bench that can't measure ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

import structlog
from rich.console import Console

from arbora.errors import ArboraError
from bench import table
from bench.machine import facts
from bench.report import Report, Topic

TOPICS = ("foundation", "placement", "tree", "gpus", "reach")
"""In the order in which they run; each is a module of this package with a `TOPIC`."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure what docs/benchmarks.md claims.",
        epilog="examples:  make bench   |   make bench ONLY=foundation   |   python -m bench --write-docs",
    )
    parser.add_argument("--only", choices=TOPICS, help="only this topic")
    parser.add_argument(
        "--part", action="append", default=[], help="only this part of the topic; its results are not written"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="measure nothing; put the last results in the document"
    )
    chosen = parser.parse_args(given)
    if chosen.part and not chosen.only:
        parser.error("--part needs --only")
    return chosen


def topic_of(name: str) -> Topic:
    """The topic `name`."""
    topic: Topic = importlib.import_module(f"bench.{name}").TOPIC
    return topic


async def measure(topic: Topic, parts: Sequence[str]) -> None:
    """Run one topic and show it; its file is written only if nothing was left out."""
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {line}", file=sys.stderr, flush=True)

    machine = facts()
    report = Report(topic.name, say)
    await topic.run(report, parts or topic.parts)
    # Piped, a table is read by a program or kept in a file: it must not be folded to a guessed width.
    table.show(Console(width=None if sys.stdout.isatty() else 240), report.figures)
    if not parts:
        table.save(topic.name, machine, report.figures)
    say(f"{topic.name}: done")


async def run(topics: Sequence[Topic], parts: Sequence[str]) -> None:
    """Every topic in turn. SIGTERM ends it as Ctrl-C does: everything that was started is stopped."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for topic in topics:
        await measure(topic, parts)


def main() -> int:
    """The exit code."""
    chosen = arguments()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        if chosen.write_docs:
            print(table.write_document().name)
            return 0
        topics = [topic_of(name) for name in ([chosen.only] if chosen.only else TOPICS)]
        unknown = [part for part in chosen.part for topic in topics if part not in topic.parts]
        if unknown:
            print(f"error: no part {unknown[0]}; there is: {', '.join(topics[0].parts)}", file=sys.stderr)
            return 2
        asyncio.run(run(topics, chosen.part))
    except ArboraError as error:
        print(f"error: {error}" + (f"\n  {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
