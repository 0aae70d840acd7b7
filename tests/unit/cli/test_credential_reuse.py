"""`arbora credential-plugin` gives a kept token out again: while it is good, for the same question and hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arbora import errors
from arbora.context import use_context, write_context
from arbora.secret import Secret
from tests.support.fake_hub import FakeHub
from tests.unit.cli.plugin import ASKED, SECRET, V1BETA1, Plugin, asked_for, exec_info


def test_a_token_is_asked_for_once_while_it_is_good(run_plugin: Plugin, hub: FakeHub) -> None:
    first, second = run_plugin(), run_plugin(info=exec_info(V1BETA1))
    assert asked_for(hub) == 1
    assert first.credential["status"] == second.credential["status"]
    assert second.credential["apiVersion"] == V1BETA1, "in the version of this client"


def files(home: Path) -> list[Path]:
    return sorted((home / "cache" / "arbora" / "credentials").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"damaged",
        json.dumps({"token": "old", "made": 1.0, "expires": 3601.0}).encode(),
        json.dumps({"token": "t", "made": 0, "expires": 1e300}).encode(),
    ],
    ids=["damaged", "over", "never over"],
)
def test_one_that_is_not_good_is_replaced(run_plugin: Plugin, hub: FakeHub, home: Path, content: bytes) -> None:
    run_plugin()
    (file,) = files(home)
    file.write_bytes(content)
    assert run_plugin().token == SECRET
    assert asked_for(hub) == 2
    assert files(home) == [file]


def test_one_that_others_could_read_is_replaced(run_plugin: Plugin, hub: FakeHub, home: Path) -> None:
    run_plugin()
    (file,) = files(home)
    file.chmod(0o644)
    assert run_plugin().token == SECRET
    assert asked_for(hub) == 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_failure_is_not_kept(run_plugin: Plugin, hub: FakeHub) -> None:
    hub.failures.append(errors.Unavailable("busy"))
    assert "busy" in run_plugin().wrong
    assert run_plugin().token == SECRET


def test_a_cache_that_can_not_be_written_costs_only_the_cache(
    run_plugin: Plugin, hub: FakeHub, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        assert run_plugin(XDG_CACHE_HOME=str(tmp_path / "file")).token == SECRET
    assert asked_for(hub) == 2


@pytest.mark.parametrize(
    "other",
    [
        ("--member", "edge-8", "--service-account", "team/runner"),
        ("--member", "edge-7", "--service-account", "team/ana"),
        ("--member", "edge-7", "--service-account", "crew/runner"),
        (*ASKED, "--audience", "vault"),
        (*ASKED, "--lifetime", "10m"),
    ],
    ids=["member", "account", "namespace", "audience", "lifetime"],
)
def test_what_is_asked_otherwise_is_another_token(
    run_plugin: Plugin, hub: FakeHub, other: tuple[str, ...]
) -> None:
    hub.add_member("/edge-8")
    hub.allowed_tokens |= {("team", "ana"), ("crew", "runner")}
    run_plugin()
    hub.member_secret = "another-token"
    assert run_plugin(*other).token == "another-token"
    assert run_plugin().token == SECRET
    assert asked_for(hub) == 2


# whose token it is: a hub has members of the same names as another


def named(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    return ("--hub-config", str(path))


def relative(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.chdir(path.parent)
    return ("--hub-config", "hub.yaml")


def from_environment(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv("ARBORA_CONFIG", str(path))
    return ()


def users_file(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    target = home / "config" / "arbora" / "config.yaml"
    target.unlink(missing_ok=True)
    path.rename(target)
    return ()


@pytest.mark.parametrize("way", [named, relative, from_environment, users_file])
def test_a_token_of_one_hub_is_never_given_out_for_another(
    run_plugin: Plugin, hub: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[..., Any]
) -> None:
    with FakeHub() as second:
        second.add_member("/edge-7")
        second.member_secret = "a-token-of-the-other"
        tokens = []
        for one in (hub, second):
            folder = home / one.address.partition(":")[2]
            write_context(folder / "hub.yaml", "test", one.context)
            tokens.append(run_plugin(*ASKED, *way(folder / "hub.yaml", home, monkeypatch)).token)
    assert tokens == [SECRET, "a-token-of-the-other"]


@pytest.mark.parametrize("how", ["argument", "environment", "current"])
def test_each_context_of_a_file_has_tokens_of_its_own(
    run_plugin: Plugin, hub: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    file = home / "config" / "arbora" / "config.yaml"
    with FakeHub() as second:
        second.add_member("/edge-7")
        second.member_secret = "a-token-of-the-other"
        write_context(file, "second", second.context, make_current=False)
        assert run_plugin().token == SECRET
        if how == "current":
            use_context(file, "second")
            assert run_plugin().token == "a-token-of-the-other"
        elif how == "environment":
            assert run_plugin(ARBORA_CONTEXT="second").token == "a-token-of-the-other"
            assert run_plugin(*ASKED, "--context", "test", ARBORA_CONTEXT="second").token == SECRET
        else:
            assert run_plugin(*ASKED, "--context", "second").token == "a-token-of-the-other"
    hub.calls.clear()


def test_a_user_who_was_replaced_is_asked_for_anew(run_plugin: Plugin, hub: FakeHub, home: Path) -> None:
    run_plugin()
    stranger = replace(hub.context, token=Secret("arbk.stranger.secret"))
    write_context(home / "config" / "arbora" / "config.yaml", "test", stranger)
    assert "the bearer token is not known" in run_plugin().wrong
