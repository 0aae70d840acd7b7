"""Help: every command has one with an example, and it comes fast."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from typer.testing import Result

from arbora.cli.main import app

HEAVY = ("grpc", "google.protobuf", "kubernetes", "sqlalchemy", "yaml", "cryptography", "structlog", "asyncio")


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from _commands(each, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(_commands(typer.main.get_command(app)))


def test_every_promised_command_is_there() -> None:
    promised = """
        hub serve, hub info, hub move, hub rotate-ca, agent run, agent manifest, join-token create,
        join-token list, join-token revoke, members list, members tree, members describe,
        members label, members taint, members cordon, members uncordon, members evict,
        gpus list, gpus describe, gpus top, gpu record, gpu recordings, apply,
        workloads list, workloads describe, workloads explain, workloads rebalance, simulate,
        workloads delete, workloads watch, token create, token list, token revoke, events,
        audit, access create, access list, access revoke, access whoami, access use,
        kubeconfig, credential-plugin, version
    """
    assert {" ".join(path) for path in COMMANDS} == {name.strip() for name in promised.split(",")}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_has_help_with_an_example_that_fits_80_columns(
    path: tuple[str, ...], run: Callable[..., Result]
) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    help_text, _, shown = result.stdout.partition("Example")
    assert f"arbora {' '.join(path)}" in shown
    assert len(help_text.splitlines()) > 5
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['arbora', '--help']\n"
        "from arbora.cli.main import run\n"
        "try: run()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == "[]\n"


def test_help_takes_a_quarter_of_a_second_of_cpu_at_most() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['arbora', '--help']; from arbora.cli.main import run; run()",
    ]

    def spent() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, timeout=20)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    spent()  # writes the byte code
    assert min(spent() for _ in range(3)) <= 0.25


def test_version_says_all_or_only_the_number(run: Callable[..., Result]) -> None:
    from arbora.version import __version__

    assert run("version").stdout.startswith(f"arbora {__version__} (session protocol 1, Python 3.")
    assert run("version", "--short").stdout == f"{__version__}\n"
