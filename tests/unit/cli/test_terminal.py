"""On a terminal: colours, unless they are not wanted, and lines that fit its width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from arbora.cli.lines import shorten, shrink
from tests.support.fake_hub import FakeHub

Arbora = Callable[..., Result]
PATH = "/eu/paris/a-basement-with-a-long-name-in-the-north"


def on_terminal(*arguments: str, columns: int = 80, answer: str = "", **environment: str) -> tuple[int, str]:
    """Exit code and what a terminal of this width was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", "from arbora.cli.main import run; run()", *arguments]
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "CI")}
    env = {**inherited, "TERM": "xterm-256color", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        if answer:
            os.write(ours, answer.encode())
        sent = b""
        while chunk := _read(ours):
            sent += chunk
        code = process.wait(10)
    os.close(ours)
    return code, sent.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side was closed
        return b""


@pytest.fixture
def fleet(hub: FakeHub, arbora: Arbora) -> FakeHub:
    hub.add_member(PATH, gpus=("H100", 32, 20), labels={"k" * 40: "v" * 40})
    return hub


def test_states_are_coloured_and_lines_fit_80_columns_without_losing_the_state(fleet: FakeHub) -> None:
    code, sent = on_terminal("members", "list")
    assert code == 0
    assert "\x1b[32mOnline\x1b[0m" in sent
    lines = re.sub(r"\x1b\[[0-9;]*m", "", sent).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert re.match(r"/eu/paris/a-basement-\S*…  Online  12/32", lines[1])


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(fleet: FakeHub, environment: dict[str, str]) -> None:
    assert "\x1b[3" not in on_terminal("members", "list", **environment)[1]


def test_wide_is_never_cut(fleet: FakeHub) -> None:
    sent = on_terminal("members", "list", "-o", "wide")[1]
    assert PATH in sent
    assert "k" * 40 + "=" + "v" * 40 in sent


def test_destruction_is_asked_about_and_a_no_changes_nothing(fleet: FakeHub) -> None:
    code, sent = on_terminal("members", "evict", PATH, answer="n\n")
    assert code == 1
    assert f"Evict {PATH}, which has 0 workloads? [y/N]" in sent
    assert "error: not confirmed, nothing was done" in sent
    assert not fleet.evicted
    assert on_terminal("members", "evict", PATH, answer="y\n")[0] == 0
    assert fleet.evicted


@given(st.lists(st.tuples(st.integers(1, 90), st.booleans()), min_size=1, max_size=8), st.integers(20, 200))
def test_only_long_columns_shrink_and_never_below_what_can_be_read(
    columns: Sequence[tuple[int, bool]], limit: int
) -> None:
    widths, long = [width for width, _ in columns], [each for _, each in columns]
    fitted = shrink(widths, long, limit)
    for before, after, may in zip(widths, fitted, long, strict=True):
        assert after == before or (may and min(before, 10) <= after < before)
    total = sum(fitted) + 2 * (len(fitted) - 1)
    needed = total > limit
    assert not needed or all(after <= 10 for after, may in zip(fitted, long, strict=True) if may)
    if sum(widths) + 2 * (len(widths) - 1) > limit and not needed:
        assert total == limit, "no more was taken than had to be"


def test_a_text_is_shortened_with_an_ellipsis() -> None:
    assert (shorten("abcdef", 4), shorten("abc", 3)) == ("abc…", "abc")


def test_the_tree_is_coloured_on_a_terminal(fleet: FakeHub) -> None:
    code, sent = on_terminal("members", "tree", columns=100)
    assert code == 0
    assert "\x1b[32mOnline\x1b[0m" in re.sub(r"(\x1b\[32m) *(Online) *(\x1b\[0m)", r"\1\2\3", sent)
    assert "12/32 free" in sent
