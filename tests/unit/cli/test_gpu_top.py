"""`arbora gpus top`: what it shows goes on, through hubs that are away, until it is interrupted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from arbora import errors
from arbora.gpus.health import Health
from arbora.v1 import enrollment_pb2
from tests.support.fake_hub import FakeHub
from tests.unit.cli.test_watches import Watch

Arbora = Callable[..., Result]


@pytest.fixture
def fleet(hub: FakeHub, arbora: Arbora) -> FakeHub:
    hub.add_member("/a", gpus=("H100", 2, 1))
    hub.add_gpu("/a", "n1", 0, values={"utilization": 10, "power": 100})
    hub.add_gpu("/a", "n1", 1, values={"utilization": 90, "power": 500}, health=Health.DEGRADED)
    return hub


def test_once_it_is_shown_once(fleet: FakeHub, arbora: Arbora) -> None:
    result = arbora("gpus", "top", "--once")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "2 GPUs  50% mean  0.6kW  1 healthy, 1 degraded"
    assert [line.split()[2] for line in lines[1:]] == ["GPU", "1", "0"]


@pytest.mark.parametrize(
    ("arguments", "first"),
    [(("--by", "class"), "H100"), (("--by", "member"), "/a"), (("a", "--by", "node"), "n1")],
)
def test_it_shows_sums_as_well(fleet: FakeHub, arbora: Arbora, arguments: tuple[str, ...], first: str) -> None:
    lines = arbora("gpus", "top", "--once", *arguments).stdout.splitlines()
    assert lines[0].startswith("2 GPUs  50% mean")
    assert lines[2].split()[0] == first


def test_without_blocks_it_is_ascii(fleet: FakeHub) -> None:
    command = [sys.executable, "-c", "from arbora.cli.main import run; run()", "gpus", "top", "--once"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=15, env=env)
    assert "#########. " in done.stdout
    assert done.stdout.isascii()


def test_what_fails_at_the_beginning_ends_it(hub: FakeHub, arbora: Arbora) -> None:
    hub.failures.append(errors.PermissionDenied("it may not"))
    assert arbora("gpus", "top").exit_code == 6
    assert arbora("gpus", "top", "/nowhere").exit_code == 4
    assert arbora("gpus", "top", "--every", "soon").exit_code == 2


def test_hubs_whose_devices_are_not_shown_are_named_once(fleet: FakeHub, arbora: Arbora) -> None:
    fleet.add_member("/eu", kind=enrollment_pb2.CHILD_KIND_HUB)
    result = arbora("gpus", "top", "--once")
    assert result.stderr == "GPUs below /eu are known there: arbora gpus list /eu --by gpu\n"
    assert arbora("gpus", "top", "--once", "--by", "class").stderr == ""


def test_in_a_pipe_it_is_printed_again_when_it_has_changed_until_ctrl_c(fleet: FakeHub) -> None:
    with Watch("gpus", "top", "--every", "1s") as watch:
        assert watch.line()[:3] == ["2", "GPUs", "50%"]
        for _ in range(3):
            watch.line()
        with fleet.changed:
            fleet.gpus[0].values.utilization = 30
        assert watch.line()[:3] == ["2", "GPUs", "60%"]
        for _ in range(3):
            watch.line()


def test_a_hub_that_is_away_is_told_and_it_goes_on(fleet: FakeHub) -> None:
    with Watch("gpus", "top", "--every", "1s", "--by", "class") as watch:
        assert watch.line()[:2] == ["2", "GPUs"]
        for _ in range(2):
            watch.line()
        with fleet.changed:
            fleet.failures += [errors.Exhausted("the hub is busy")]
        line = " ".join(watch.line())
        assert re.match(r"as it was at \d\d:\d\d:\d\d: the hub is busy 2 GPUs", line), line
        for _ in range(2):
            watch.line()
        assert watch.line()[:2] == ["2", "GPUs"]
        for _ in range(2):
            watch.line()


class Terminal:
    """A command on a terminal of this size, until the test leaves the block."""

    def __init__(self, *arguments: str, columns: int, lines: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "CI")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from arbora.cli.main import run; run()", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**inherited, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def until(self, text: str) -> str:
        """What was sent until this was."""
        sent = b""
        while text.encode() not in sent:
            sent += os.read(self._ours, 65536)
        return sent.decode(errors="replace")

    def __exit__(self, *_: Any) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            assert self._process.wait(10) == 130
        finally:
            self._process.kill()
            os.close(self._ours)


def test_on_a_terminal_it_is_drawn_again_in_its_place(fleet: FakeHub) -> None:
    for index in range(2, 20):
        fleet.add_gpu("/a", "n2", index)
    with Terminal("gpus", "top", "--every", "1s", columns=100, lines=10) as terminal:
        first = terminal.until("and 14 more")
        assert "\x1b[33m█████████░ " in first
        with fleet.changed:
            fleet.gpus[0].values.utilization = 30
        assert "\x1b[1A\x1b[2K" in terminal.until("60% mean")
