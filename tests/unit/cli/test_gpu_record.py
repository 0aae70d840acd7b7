"""`arbora gpu`: a recording of a recording, which files it makes, and which it leaves alone."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import Result

from arbora_agent.gpu.recorded import load, named
from tests.unit.cli.test_terminal import on_terminal

Run = Callable[..., Result]
PLAYED = ("--replay", "h100x8", "--seconds", "0.3", "--interval", "0.1")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_recording_is_made_and_summed_up_in_one_line(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    result = run("gpu", "record", "--out", str(out), *PLAYED)
    assert result.exit_code == 0, result.output
    told = re.fullmatch(
        rf"recorded \d+ms of 8 GPUs in {re.escape(str(out))}: (\d+) lines, 0 events\n", result.stdout
    )
    assert told, result.stdout
    recording = load(out)
    assert (recording.real, recording.about) == (False, named("h100x8").about)
    assert recording.entries[0].facts is not None
    assert [gpu.serial for gpu in recording.entries[0].facts.gpus] == [""] * 8
    assert int(told[1]) == len(out.read_text().splitlines())


def test_numbers_are_kept_and_what_it_is_about_is_said_where_that_is_wanted(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    assert run("gpu", "record", "--out", str(out), *PLAYED, "--keep-ids", "--about", "a test").exit_code == 0
    recording = load(out)
    assert recording.about == "a test"
    assert recording.entries[0].facts == named("h100x8").entries[0].facts


def test_a_file_that_exists_is_not_overwritten_unless_that_is_wanted(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    out.write_text("dear to me")
    refused = run("gpu", "record", "--out", str(out), *PLAYED)
    assert (refused.exit_code, out.read_text()) == (5, "dear to me")
    assert refused.stderr.startswith(f"error: {out} exists\nhint: ")
    assert run("gpu", "record", "--out", str(out), *PLAYED, "--force").exit_code == 0
    assert load(out).entries


def test_without_a_driver_nothing_is_written_and_the_reason_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    out = tmp_path / "mine.jsonl"
    out.write_text("dear to me")
    result = run("gpu", "record", "--out", str(out), "--force")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: the Python package nvidia-ml-py is not installed\nhint: pip install 'arbora[agent]'\n"
    )
    assert out.read_text() == "dear to me"


def test_a_recording_that_is_not_there_is_told_with_those_that_are(run: Run, tmp_path: Path) -> None:
    result = run("gpu", "record", "--out", str(tmp_path / "x"), "--replay", "nowhere")
    assert result.exit_code == 4
    assert "h100x8-xid79" in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_place_that_can_not_be_written_is_told(run: Run, tmp_path: Path) -> None:
    result = run("gpu", "record", "--out", str(tmp_path / "no" / "x"), *PLAYED)
    assert (result.exit_code, "can't be written" in result.stderr) == (10, True), result.stderr


def test_ctrl_c_ends_it_in_order_and_what_was_recorded_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    command = [sys.executable, "-c", "from arbora.cli.main import run; run()", "gpu", "record", "--out", str(out)]
    with subprocess.Popen(
        [*command, "--replay", "h100x8"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        end = time.monotonic() + 10.0
        while not out.exists() or out.read_text().count("\n") < 10:
            assert time.monotonic() < end, "nothing is recorded"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, b"")
    assert b" of 8 GPUs in " in stdout
    assert len(load(out).entries) >= 9


def test_on_a_terminal_it_says_how_far_it_is(tmp_path: Path) -> None:
    code, sent = on_terminal("gpu", "record", "--out", str(tmp_path / "x"), *PLAYED)
    assert code == 0
    assert "10 lines, 0 events  (Ctrl-C ends it)" in sent
    assert "of 8 GPUs in" in sent


def test_recordings_that_come_with_the_program_are_listed(run: Run) -> None:
    lines = run("gpu", "recordings").stdout.splitlines()
    assert lines[0].split() == ["NAME", "GPUS", "LASTS", "REAL", "ABOUT"]
    assert any(line.split()[:4] == ["h100x8-xid79", "8", "5m", "no"] for line in lines)
    items = json.loads(run("gpu", "recordings", "-o", "json").stdout)["items"]
    assert {"name", "about", "seconds", "gpus", "real"} == items[0].keys()


def test_an_installation_without_the_agent_is_told_how_to_install_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "arbora_agent.gpu.recorded.recorder", None)
    result = run("gpu", "record", "--out", str(tmp_path / "x"))
    assert result.exit_code == 4
    assert "pip install 'arbora[agent]'" in result.stderr
