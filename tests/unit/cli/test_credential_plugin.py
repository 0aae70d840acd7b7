"""`arbora credential-plugin`: one ExecCredential on stdout, or a sentence on stderr and exit code 1."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import Result

from arbora import errors
from arbora.cli import credential_plugin as plugin
from arbora.context import write_context
from tests.support.fake_hub import FakeHub
from tests.unit.cli.plugin import ASKED, SECRET, V1, V1BETA1, Plugin, asked_for, exec_info

# what the client says


def test_without_exec_info_it_speaks_v1(run_plugin: Plugin) -> None:
    credential = run_plugin().credential
    assert (credential["apiVersion"], credential["kind"]) == (V1, "ExecCredential")
    assert credential["status"]["token"] == SECRET


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_it_answers_in_the_version_of_the_client(run_plugin: Plugin, version: str) -> None:
    assert run_plugin(info=exec_info(version)).credential["apiVersion"] == version


@pytest.mark.parametrize("version", ["client.authentication.k8s.io/v1alpha1", "v1", "", None, 1, ["v1"]])
def test_another_version_is_refused_with_those_that_are_known(
    run_plugin: Plugin, hub: FakeHub, version: object
) -> None:
    wrong = run_plugin(info=exec_info(version)).wrong
    assert V1 in wrong
    assert V1BETA1 in wrong
    assert asked_for(hub) == 0


@pytest.mark.parametrize("info", ["{", "null", "7", '"v1"', "[]", "{}", {"apiVersion": V1, "spec": "all"}])
def test_exec_info_that_can_not_be_read_is_told(run_plugin: Plugin, info: object) -> None:
    assert "KUBERNETES_EXEC_INFO can't be read" in run_plugin(info=info).wrong


@pytest.mark.parametrize(
    "info",
    [
        {"apiVersion": V1},
        {"apiVersion": V1, "spec": None},
        {"apiVersion": V1, "spec": {}},
        exec_info(cluster=None),
        exec_info(cluster={"server": "https://kubernetes.default.svc:443"}),
        exec_info(cluster={"config": None}),
        exec_info(cluster={"config": []}),
        exec_info(cluster={"config": "edge-8"}),
        exec_info(cluster={"config": {"path": 8}}),
    ],
)
def test_without_a_word_of_the_cluster_the_arguments_say_the_member(run_plugin: Plugin, info: object) -> None:
    assert run_plugin(info=info).token == SECRET
    rest = ASKED[2:]
    assert "no member is named. usage: " in run_plugin(*rest, info=info).wrong


def test_the_clusters_configuration_names_the_member_unless_the_arguments_do(run_plugin: Plugin) -> None:
    ghost = exec_info(cluster={"config": {"path": "ghost"}})
    assert "no member ghost" in run_plugin(*ASKED[2:], info=ghost).wrong
    assert run_plugin(info=ghost).token == SECRET
    edge = exec_info(V1BETA1, cluster={"config": {"path": "/edge-7"}})
    assert run_plugin(*ASKED[2:], info=edge).token == SECRET


# what the arguments say


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--member", "edge-7"), "--service-account is not NAMESPACE/NAME"),
        (("--member", "edge-7", "--service-account", "runner"), "--service-account is not NAMESPACE/NAME"),
        (("--member", "edge-7", "--service-account", "a/b/c"), "--service-account is not NAMESPACE/NAME"),
        (("--member", "edge-7", "--service-account", "/b"), "--service-account is not NAMESPACE/NAME"),
        (("--member", "edge-7", "--service-account", "a/"), "--service-account is not NAMESPACE/NAME"),
        (("--service-account", "team/runner"), "no member is named"),
        (("--member=", "--service-account", "team/runner"), "no member is named"),
        (("--member",), "--member has no value"),
        (("--members", "edge-7"), "--members is not known"),
        (("edge-7",), "edge-7 is not known"),
        (("",), " is not known"),
    ],
)
def test_a_wrong_command_line_is_told_with_the_right_one(
    run_plugin: Plugin, hub: FakeHub, arguments: tuple[str, ...], message: str
) -> None:
    wrong = run_plugin(*arguments).wrong
    assert message in wrong
    assert "usage: arbora credential-plugin --member PATH" in wrong
    assert hub.calls == []


def test_a_value_may_stand_behind_an_equals_sign(run_plugin: Plugin) -> None:
    assert run_plugin("--member=/edge-7", "--service-account=team/runner", "--lifetime=10m").token == SECRET


def test_a_lifetime_that_is_none_is_told(run_plugin: Plugin) -> None:
    assert "'soon' is not a duration" in run_plugin(*ASKED, "--lifetime", "soon").wrong


# the credential


@pytest.mark.parametrize(
    ("wanted", "seconds"), [("10m", 600), ("1h", 1800)], ids=["as wanted", "cut by the member"]
)
def test_the_credential_says_when_it_ends_and_a_little_sooner(
    run_plugin: Plugin, wanted: str, seconds: float
) -> None:
    before = time.time()
    status = run_plugin(*ASKED, "--lifetime", wanted).credential["status"]
    assert set(status) == {"token", "expirationTimestamp"}
    assert status["expirationTimestamp"].endswith("Z")
    ends = datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
    assert before + seconds - plugin.SKEW - 1 <= ends < time.time() + seconds - 1


def test_stdout_holds_the_credential_and_nothing_else(run_plugin: Plugin) -> None:
    ran = run_plugin()
    assert json.dumps(json.loads(ran.out)) == ran.out
    assert ran.err == ""


# errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--member", "ghost", "--service-account", "team/runner"), "no member ghost"),
        (("--member", "edge-7", "--service-account", "team/other"), "does not give out tokens of team/other"),
        ((*ASKED, "--context", "nowhere"), "no context 'nowhere'"),
        ((*ASKED, "--hub-config", "/nowhere.yaml"), "/nowhere.yaml does not exist"),
        ((*ASKED, "--hub-config", "/"), "/ can't be read"),
    ],
)
def test_what_goes_wrong_is_one_sentence_on_stderr(
    run_plugin: Plugin, arguments: tuple[str, ...], message: str
) -> None:
    assert message in run_plugin(*arguments).wrong


def test_a_hint_comes_along(run_plugin: Plugin, hub: FakeHub) -> None:
    hub.failures.append(errors.Unavailable("the hub is draining", hint="Try again."))
    assert run_plugin().wrong == "arbora: the hub is draining. Try again.\n"


def test_a_hub_that_is_not_there_is_told(run_plugin: Plugin, hub: FakeHub, home: Path) -> None:
    gone = replace(hub.context, hub="127.0.0.1:1")
    write_context(home / "config" / "arbora" / "config.yaml", "gone", gone)
    assert "can't be reached" in run_plugin().wrong


def test_a_client_waits_three_seconds_at_most() -> None:
    assert plugin.SECONDS == 3.0


def test_a_hub_that_does_not_answer_is_left_after_that(
    run_plugin: Plugin, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "SECONDS", 0.3)
    begin = time.monotonic()
    with hub.changed:  # the held lock keeps the hub from answering
        ran = run_plugin()
    assert "arbora: " in ran.wrong
    assert time.monotonic() - begin < 3.0


# as kubectl starts it


def test_it_is_a_command_like_any_other(run_plugin: Plugin, arbora: Callable[..., Result]) -> None:
    ran = arbora("credential-plugin", *ASKED)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["status"]["token"] == SECRET
    refused = arbora("credential-plugin", "--member", "ghost", "--service-account", "team/runner")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "no member ghost" in refused.stderr


def test_a_kept_token_is_told_by_a_process_that_loads_little(
    run_plugin: Plugin, hub: FakeHub, home: Path
) -> None:
    where = ("--hub-config", str(home / "config" / "arbora" / "config.yaml"))
    run_plugin(*ASKED, *where)
    code = (
        f"import sys; sys.argv = ['arbora', 'credential-plugin', *{(*ASKED, *where)!r}]\n"
        "from arbora.__main__ import main\n"
        "try: main()\n"
        "finally: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=15)
    assert json.loads(done.stdout)["status"]["token"] == SECRET
    heavy = {"typer", "click", "rich", "grpc", "google", "yaml", "cryptography", "asyncio", "structlog"}
    assert not heavy & set(done.stderr.split())
    assert asked_for(hub) == 1


def test_help_is_that_of_the_command_line() -> None:
    command = [sys.executable, "-m", "arbora", "credential-plugin", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=15)
    assert "--service-account" in done.stdout
