"""Commands that go on: they show what is there, then each change, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from typer.testing import Result

from arbora.v1 import workload_pb2 as pb
from tests.support.fake_hub import FakeHub

Arbora = Callable[..., Result]

WORKLOAD = """\
apiVersion: arbora.dev/v1
kind: Workload
metadata: {name: train}
spec:
  placement: {members: [a]}
  manifests: [{apiVersion: batch/v1, kind: Job, metadata: {name: x}}]
"""


class Watch:
    """A command that runs until the test leaves the block."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", "from arbora.cli.main import run; run()", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Watch:
        return self

    def line(self) -> list[str]:
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def __exit__(self, *_: Any) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            out, err = self._process.communicate(timeout=10)
        finally:
            self._process.kill()
        assert (self._process.returncode, out, err) == (130, "", "")


def test_workloads_are_shown_and_shown_again_when_they_change(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    arbora("apply", "-f", "-", input=WORKLOAD)
    with Watch("workloads", "watch") as watch:
        assert watch.line()[:2] == ["NAME", "STATE"]
        assert watch.line()[:3] == ["train", "Pending", "0/1"]
        hub.report("train", pb.WORKLOAD_STATE_AVAILABLE, "all there")
        line = watch.line()
        assert (line[:4], line[5:]) == (["train", "Available", "1/1", "-"], ["all", "there"])
        arbora("workloads", "delete", "train", "--yes")
        assert watch.line() == ["train", "is", "gone"]


def test_a_watch_in_json_is_one_document_per_line(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/a")
    arbora("apply", "-f", "-", input=WORKLOAD)
    with Watch("workloads", "watch", "-o", "json") as watch:
        change = json.loads(" ".join(watch.line()))
        assert (change["gone"], change["workload"]["state"]) == (False, "Pending")


def test_events_are_shown_from_the_newest_on_and_none_twice(hub: FakeHub, arbora: Arbora) -> None:
    for reason in ("Zero", "One", "Two"):
        hub.add_event(reason, "member/a")
    with Watch("events", "--watch", "--limit", "2") as watch:
        assert watch.line()[0] == "TIME"
        assert watch.line()[2] == "One"
        assert watch.line()[2] == "Two"
        hub.wait_for_watcher()
        hub.add_event("Three", "member/a", "a sentence")
        assert watch.line()[2:] == ["Three", "member/a", "a", "sentence"]
        hub.add_event("Four", "member/a")
        assert watch.line()[2] == "Four"
