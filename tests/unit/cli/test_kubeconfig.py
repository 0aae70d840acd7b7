"""`arbora kubeconfig`: a file with which kubectl reaches a member, and what stands in its way."""

from __future__ import annotations

import base64
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from typer.testing import Result

from arbora import errors
from arbora.v1 import member_pb2
from tests.support.fake_hub import FakeHub

Arbora = Callable[..., Result]

API_CA = b"-----BEGIN CERTIFICATE-----\nAPI\n-----END CERTIFICATE-----\n"
ASKED = ("kubeconfig", "/eu/edge-7", "--service-account", "team/runner")


@pytest.fixture
def edge(hub: FakeHub) -> member_pb2.Member:
    """A member into which there is a way."""
    return hub.add_member("/eu/edge-7", status=member_pb2.ClusterStatus(reachable=True, api_ca_pem=API_CA))


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def parts(text: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Its one cluster, exec plugin and context."""
    file = yaml.safe_load(text)
    (cluster,), (user,), (context,) = file["clusters"], file["users"], file["contexts"]
    return cluster["cluster"], user["user"]["exec"], context["context"]


def refused(result: Result, code: int) -> str:
    """What is said of it; the last line is what to do."""
    assert (result.exit_code, result.stdout) == (code, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return result.stderr


def test_it_leads_through_the_gateway_to_that_member(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora
) -> None:
    cluster, _, context = parts(ok(arbora(*ASKED)))
    (access,) = hub.access.values()
    proxy = urlsplit(cluster["proxy-url"])
    assert (proxy.scheme, proxy.netloc.rpartition("@")[2]) == ("https", hub.gateway)
    assert (proxy.username, proxy.password) == ("edge-7.eu", f"arbk.{access.name}.way")
    assert access.member == "eu/edge-7"
    assert base64.b64decode(cluster["certificate-authority-data"]) == API_CA + hub.ca_pem
    assert "namespace" not in context


def test_kubectl_gets_tokens_of_the_service_account_by_the_plugin(
    edge: member_pb2.Member, arbora: Arbora, home: Path
) -> None:
    _, plugin, _ = parts(ok(arbora(*ASKED)))
    arguments = plugin["args"][plugin["args"].index("credential-plugin") :]
    config = home / "config" / "arbora" / "config.yaml"
    asked = ["--member", "/eu/edge-7", "--service-account", "team/runner"]
    assert arguments == ["credential-plugin", *asked, "--hub-config", str(config), "--context", "test"]
    assert Path(plugin["command"]).is_absolute(), "kubectl may have another PATH"


@pytest.mark.parametrize("installed", [True, False])
def test_the_plugin_is_started_as_this_program_is(
    edge: member_pb2.Member, arbora: Arbora, home: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    program = home / "bin" / "arbora"
    program.parent.mkdir()
    if installed:
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    _, plugin, _ = parts(ok(arbora(*ASKED)))
    command = [plugin["command"], *plugin["args"]]
    expected = [str(program)] if installed else [sys.executable, "-m", "arbora"]
    assert command[: len(expected) + 1] == [*expected, "credential-plugin"]


def test_what_it_asks_the_plugin_for_the_plugin_answers(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora
) -> None:
    _, plugin, _ = parts(ok(arbora(*ASKED)))
    answer = arbora(*plugin["args"][plugin["args"].index("credential-plugin") :])
    assert yaml.safe_load(ok(answer))["status"]["token"] == hub.member_secret


def test_a_relative_hub_config_is_found_from_everywhere(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home / "config" / "arbora")
    _, plugin, _ = parts(ok(arbora(*ASKED, "--hub-config", "config.yaml")))
    where = plugin["args"][plugin["args"].index("--hub-config") + 1]
    assert where == str(home / "config" / "arbora" / "config.yaml")


def test_it_says_how_the_way_is_closed(hub: FakeHub, edge: member_pb2.Member, arbora: Arbora) -> None:
    result = arbora(*ASKED)
    (name,) = hub.access
    assert result.stderr == f"the way is open as the access {name}; end it with: arbora access revoke {name}\n"
    ok(arbora("access", "revoke", name))


def test_a_lifetime_and_a_namespace_are_taken(hub: FakeHub, edge: member_pb2.Member, arbora: Arbora) -> None:
    _, _, context = parts(ok(arbora(*ASKED, "--lifetime", "2h", "-n", "team")))
    assert context["namespace"] == "team"
    (access,) = hub.access.values()
    left = access.expires.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)


# the file


def test_a_file_is_for_its_owner_only_and_holds_what_would_be_printed(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "edge-7.yaml"
    assert ok(arbora(*ASKED, "--out", str(out))) == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert urlsplit(parts(out.read_text())[0]["proxy-url"]).username == "edge-7.eu"
    assert [each.name for each in out.parent.iterdir()] == ["edge-7.yaml"], "no temporary file is left"


def test_a_file_that_is_there_is_kept_and_no_way_is_opened_unless_it_is_forced(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora, tmp_path: Path
) -> None:
    out = tmp_path / "edge-7.yaml"
    out.write_text("dear to me")
    out.chmod(0o644)
    told = refused(arbora(*ASKED, "--out", str(out)), 5)
    assert f"{out} exists" in told
    assert "--force" in told
    assert (out.read_text(), hub.access) == ("dear to me", {})
    ok(arbora(*ASKED, "--out", str(out), "--force"))
    assert yaml.safe_load(out.read_text())["kind"] == "Config"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_file_that_can_not_be_written_is_told_with_the_way_that_is_open_then(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = arbora(*ASKED, "--out", str(tmp_path / "file" / "edge-7.yaml"))
    assert (result.exit_code, result.stdout) == (10, "")
    assert "can't be written" in result.stderr
    (name,) = hub.access
    assert f"arbora access revoke {name}" in result.stderr, "nobody has its token"


# what stands in the way


@pytest.mark.parametrize("account", ["runner", "a/b/c", "/runner", "team/", ""])
def test_a_wrong_service_account_is_named_before_anything_is_asked(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora, account: str
) -> None:
    result = arbora("kubeconfig", "/eu/edge-7", "--service-account", account)
    assert (result.exit_code, result.stdout, hub.calls) == (2, "", [])
    assert result.stderr.startswith(f"error: --service-account: {account!r} is not namespace/account\n")


def test_a_wrong_lifetime_opens_no_way(hub: FakeHub, edge: member_pb2.Member, arbora: Arbora) -> None:
    assert "--lifetime: 'soon' is not a duration" in refused(arbora(*ASKED, "--lifetime", "soon"), 2)
    assert hub.access == {}


def test_a_member_without_a_way_is_told_with_the_reasons(hub: FakeHub, arbora: Arbora) -> None:
    hub.add_member("/eu/edge-7")
    told = refused(arbora(*ASKED), 7)
    assert "there is no way into /eu/edge-7" in told
    assert "does not allow tunnels" in told
    assert hub.access == {}


def test_a_member_that_is_not_there_is_told(arbora: Arbora) -> None:
    assert "arbora members list" in refused(arbora(*ASKED), 4)


def test_a_token_that_the_member_would_refuse_opens_no_way(
    hub: FakeHub, edge: member_pb2.Member, arbora: Arbora
) -> None:
    result = arbora("kubeconfig", "/eu/edge-7", "--service-account", "team/other")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "does not give out tokens of team/other" in result.stderr
    assert hub.access == {}


def test_a_hub_without_a_gateway_says_what_to_do(hub: FakeHub, edge: member_pb2.Member, arbora: Arbora) -> None:
    hub.gateway = ""
    told = refused(arbora(*ASKED), 4)
    assert "no gateway into members" in told
    assert "--gateway-address" in told


def test_a_caller_who_may_not_is_told(hub: FakeHub, edge: member_pb2.Member, arbora: Arbora) -> None:
    hub.failures.append(errors.PermissionDenied("ana is viewer", hint="Ask an admin."))
    assert "ana is viewer" in refused(arbora(*ASKED), 6)
