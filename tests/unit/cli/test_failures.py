"""How the command line fails: text, exit codes, silence where silence is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from arbora import errors
from arbora.cli.failures import EXIT_CODES, ArboraGroup
from arbora.client import WorkloadDegraded
from tests.support.fake_hub import FakeHub

Arbora = Callable[..., Result]

EVERY_ERROR = [kind for kind in errors.ArboraError.__subclasses__() if kind.__module__.startswith("arbora.")]
"""Those of the shared package, whatever else other tests have loaded."""


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_has_its_documented_exit_code_and_prints_error_and_hint(
    kind: type[errors.ArboraError], run: Arbora
) -> None:
    error = kind(6, "it failed", hint="do this") if kind is errors.Refused else kind("it failed", hint="do this")  # type: ignore[call-arg]
    result = _failing(error)
    assert result.exit_code == kind.exit_code
    assert result.stderr == "error: it failed\nhint: do this\n"
    assert kind.exit_code in EXIT_CODES


def test_exit_codes_are_documented_in_the_help(run: Arbora) -> None:
    text = run("--help").stdout
    for code, meaning in EXIT_CODES.items():
        assert f"{code:>3}  {meaning}" in text


def test_an_error_of_the_hub_keeps_its_class_field_and_hint(hub: FakeHub, arbora: Arbora) -> None:
    hub.failures.append(errors.InvalidInput("'x' is not a label key", field="labels.x", hint="Such as gpu."))
    result = arbora("access", "list")
    assert result.exit_code == 2
    assert result.stderr == "error: labels.x: 'x' is not a label key\nhint: Such as gpu.\n"


def test_a_hub_that_is_not_there_exits_7(arbora: Arbora, hub: FakeHub) -> None:
    hub.failures += [errors.Unavailable("the hub is draining", hint="Try again.")] * 9
    result = arbora("hub", "info")
    assert result.exit_code == 7
    assert result.stderr == "error: the hub is draining\nhint: Try again.\n"


def test_no_context_names_the_three_places_and_the_next_step(run: Arbora, home: Path) -> None:
    result = run("members", "list")
    assert result.exit_code == 4
    assert "ARBORA_CONFIG" in result.stderr
    assert f"{home}/config/arbora/config.yaml" in result.stderr
    assert f"{home}/data/arbora/hub/admin.yaml" in result.stderr
    assert "hint: Start a hub here with `arbora hub serve`" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "where"),
    [
        (("members", "lst"), "No such command 'lst'. Did you mean 'list'?", "members"),
        (("members", "describe"), "Missing argument 'MEMBER'.", "members describe"),
        (("gpus", "--nope"), "No such option: --nope", "gpus"),
    ],
)
def test_a_wrong_command_line_is_told_in_the_same_form(
    run: Arbora, arguments: tuple[str, ...], error: str, where: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (2, f"error: {error}\nhint: See `arbora {where} --help`.\n")


def test_a_wrong_duration_is_named(arbora: Arbora) -> None:
    result = arbora("join-token", "create", "--lifetime", "soon")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --lifetime: 'soon' is not a duration\nhint: Write it as 90s")


def test_a_bug_is_one_line_too_and_a_traceback_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _failing(RuntimeError("oops"))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: internal error: RuntimeError: oops\nhint: This is a bug.")
    monkeypatch.setenv("ARBORA_DEBUG", "1")
    assert "Traceback" in _failing(RuntimeError("oops")).stderr


def test_a_no_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _failing(typer.Abort())
    assert (result.exit_code, result.stderr) == (1, "error: not confirmed, nothing was done\n")


def test_ctrl_c_exits_130() -> None:
    result = _failing(KeyboardInterrupt())
    assert (result.exit_code, result.stderr) == (130, "")


def test_a_degraded_workload_has_an_exit_code_of_its_own() -> None:
    assert _failing(WorkloadDegraded("x")).exit_code == 3


def test_ctrl_c_in_a_watch_exits_130_without_a_word(hub: FakeHub, arbora: Arbora) -> None:
    process = _start("workloads", "watch")
    hub.wait_for_call("WatchWorkloads")
    assert process.stdout is not None
    assert process.stdout.readline() == b"NAME  STATE  MEMBERS  PENDING  AGE  MESSAGE\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_is_quiet(hub: FakeHub, arbora: Arbora) -> None:
    for number in range(4):
        hub.add_member(f"/m{number}", labels={"k": "v" * 60})
    reader, writer = os.pipe()
    os.close(reader)
    process = _start("members", "list", "-o", "json", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (141, b"")


def _failing(error: BaseException) -> Result:
    """The result of a command that raises `error`."""
    app = typer.Typer(cls=ArboraGroup)

    @app.callback()
    def root() -> None: ...

    @app.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(app, ["fail"])


def _start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from arbora.cli.main import run; run()", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
