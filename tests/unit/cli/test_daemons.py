"""`hub serve`, `agent run` and `agent manifest`: what they make of their arguments, without starting anything."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
from typer.testing import Result

from arbora.manifests.documents import read

Run = Callable[..., Result]


class Daemon:
    """Stands where a daemon's composition root is; keeps the settings it was started with, and ends at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, package: str, start: str) -> None:
        self.settings: Any = None

        async def started(settings: Any, stop: asyncio.Event, *_: object) -> None:
            self.settings = settings
            assert not stop.is_set()

        module = ModuleType(f"{package}.app")
        module.__dict__[start] = started
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def hub_daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch, "arbora_hub", "serve")


@pytest.fixture
def agent_daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch, "arbora_agent", "run")


def test_a_hub_serves_clients_on_loopback_unless_told_otherwise(hub_daemon: Daemon, run: Run, home: Path) -> None:
    assert run("hub", "serve", "--advertise", "hub.example.org").exit_code == 0
    settings = hub_daemon.settings
    assert (settings.client_address, settings.advertise) == ("127.0.0.1:7443", "hub.example.org")
    assert settings.data_dir == home / "data" / "arbora" / "hub"


def test_an_address_without_a_host_means_every_interface(hub_daemon: Daemon, run: Run) -> None:
    assert run("hub", "serve", "--join-address", ":9444", "--session-address", "10.0.0.1:9445").exit_code == 0
    assert hub_daemon.settings.join_address == "0.0.0.0:9444"
    assert hub_daemon.settings.session_address == "10.0.0.1:9445"


def test_a_hub_takes_its_data_directory_from_the_environment(hub_daemon: Daemon, run: Run, home: Path) -> None:
    run("hub", "serve", env={"ARBORA_DATA_DIR": str(home / "here")})
    assert hub_daemon.settings.data_dir == home / "here"


@pytest.mark.parametrize(("group", "command"), [("hub", "serve"), ("agent", "run")])
def test_metrics_are_served_only_where_it_is_said(
    hub_daemon: Daemon, agent_daemon: Daemon, run: Run, group: str, command: str
) -> None:
    daemon = hub_daemon if group == "hub" else agent_daemon
    run(group, command)
    assert daemon.settings.metrics_address == ""
    run(group, command, "--metrics-address", ":9400")
    assert daemon.settings.metrics_address == ":9400"
    run(group, command, env={"ARBORA_METRICS_ADDRESS": "127.0.0.1:9401"})
    assert daemon.settings.metrics_address == "127.0.0.1:9401"


def test_metrics_without_their_library_are_refused_with_what_to_install(
    agent_daemon: Daemon, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "arbora.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    result = run("agent", "run", "--metrics-address", ":9400")
    assert result.exit_code == 4
    assert "hint: Install it with: pip install 'arbora[agent]'" in result.stderr


def test_a_hub_is_told_its_parent_and_its_standbys(hub_daemon: Daemon, run: Run) -> None:
    tree = ("--parent", "root:7444", "--join-token", "arb1.x", "--name", "eu", "--export", "summary")
    assert run("hub", "serve", *tree, "--standby", "b:7444=arb1.y", "--coalesce", "1").exit_code == 0
    settings = hub_daemon.settings
    assert (settings.parent, settings.name, settings.export) == ("root:7444", "eu", "summary")
    assert settings.coalesce_seconds == 1.0
    assert settings.join_token.reveal() == "arb1.x"
    assert [(address, token.reveal()) for address, token in settings.standby] == [("b:7444", "arb1.y")]
    assert "arb1" not in repr(settings)


def test_a_standby_without_a_token_is_refused_and_not_repeated(hub_daemon: Daemon, run: Run) -> None:
    result = run("hub", "serve", "--standby", "arb1.secret")
    assert result.exit_code == 2
    assert "arb1.secret" not in result.stderr


def test_an_agent_reads_its_join_token_from_a_file(agent_daemon: Daemon, run: Run, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("arb1.a.b.c\n")
    arguments = ("--hub", "h:7444", "--join-token-file", str(tmp_path / "t"), "--simulate", "4x8xH100")
    granting = ("--allow-role", "team/reader", "--allow-cluster-role", "view", "--allow-rules-of", "edit")
    assert run("agent", "run", *arguments, "--allow-token", "team/runner", *granting).exit_code == 0
    settings = agent_daemon.settings
    assert (settings.hub, settings.join_token.reveal(), settings.simulate) == ("h:7444", "arb1.a.b.c", "4x8xH100")
    assert "arb1" not in repr(settings)
    assert settings.allow_tokens == ("team/runner",)
    assert settings.allow_roles == ("team/reader",)
    assert settings.allow_cluster_roles == ("view",)
    assert settings.allow_rules_of == "edit"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--join-token", "a", "--join-token-file", "b"), "at once"),
        (("--join-token-file", "nowhere"), "can't be read"),
        (("--allow-token", "runner"), "--allow-token: 'runner' is not namespace/account"),
        (("--allow-role", "reader"), "--allow-role: 'reader' is not namespace/role"),
        (("--simulate", "1x1xH100", "--kubeconfig", "k"), "--simulate needs no cluster"),
    ],
)
def test_arguments_that_contradict_are_refused(
    agent_daemon: Daemon, run: Run, arguments: tuple[str, ...], error: str
) -> None:
    result = run("agent", "run", *arguments)
    assert result.exit_code == 2
    assert error in result.stderr
    assert agent_daemon.settings is None


def test_a_daemon_that_is_not_installed_is_told_how_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arbora_hub", None)
    monkeypatch.setitem(sys.modules, "arbora_hub.settings", None)
    result = run("hub", "serve")
    assert result.exit_code == 4
    assert "hint: Install it with: pip install 'arbora[hub]'" in result.stderr


def test_a_manifest_needs_a_join_token(run: Run) -> None:
    result = run("agent", "manifest", "--hub", "h:7444")
    assert result.exit_code == 2
    assert "arbora join-token create" in result.stderr


def test_a_manifest_is_yaml_that_kubectl_takes_and_holds_what_was_given(run: Run) -> None:
    arguments = ("--hub", "hub.example.org:7444", "--join-token", "arb1.a.b.c", "--name", "edge-7")
    result = run("agent", "manifest", *arguments, "--image", "example.org/agent:1")
    assert result.exit_code == 0, result.stderr
    objects = read(result.stdout, "stdout").objects
    assert [each["kind"] for each in objects][:2] == ["Namespace", "ServiceAccount"]
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "example.org/agent:1"
