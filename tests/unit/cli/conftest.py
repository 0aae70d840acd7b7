from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from arbora.cli.main import app
from arbora.context import write_context
from tests.support.fake_hub import FakeHub
from tests.unit.cli.plugin import Plugin, runner

Arbora = Callable[..., Result]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own: no test sees the contexts of whoever runs it."""
    outside = ("KUBERNETES_EXEC_INFO", "FORCE_COLOR")
    for name in ("ARBORA_CONFIG", "ARBORA_CONTEXT", "ARBORA_DATA_DIR", "ARBORA_DEBUG", *outside):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def run() -> Arbora:
    """`run("members", "list")` runs the command line in this process."""

    def invoke(*arguments: str, input: str | None = None, env: dict[str, str] | None = None) -> Result:
        return CliRunner(env=env).invoke(app, list(arguments), input=input, prog_name="arbora")

    return invoke


@pytest.fixture
def arbora(hub: FakeHub, home: Path, run: Arbora) -> Arbora:
    """The same, with a context for `hub`."""
    write_context(home / "config" / "arbora" / "config.yaml", "test", hub.context)
    return run


@pytest.fixture
def run_plugin(hub: FakeHub, home: Path, capsys: pytest.CaptureFixture[str]) -> Plugin:
    """The credential plugin, with a context for `hub`, that has a member edge-7."""
    hub.add_member("/edge-7")
    write_context(home / "config" / "arbora" / "config.yaml", "test", hub.context)
    return runner(capsys)
