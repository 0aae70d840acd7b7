"""Context files: found in order, read strictly, written so that only the owner can read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from arbora.context import Context, find_context, read_contexts, use_context, write_context
from arbora.errors import InvalidInput, NotFound
from arbora.secret import Secret

PROD = Context("hub.example.org:7443", "PEM\nPEM\n", Secret("arbk.a.b"))
HERE = Context("127.0.0.1:7443", "PEM\n", Secret("arbk.c.d"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}


def test_what_is_written_is_read_back_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.yaml"
    write_context(path, "prod", PROD)
    assert read_contexts(path).contexts == {"prod": PROD}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    write_context(path, "here", HERE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["config.yaml"], "no temporary file is left"


def test_a_second_context_keeps_the_first_and_becomes_current_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    write_context(path, "prod", PROD, make_current=False)
    assert read_contexts(path).current == "prod"
    write_context(path, "here", HERE, make_current=False)
    assert (read_contexts(path).current, set(read_contexts(path).contexts)) == ("prod", {"prod", "here"})
    use_context(path, "here")
    assert read_contexts(path).current == "here"


def test_the_named_file_comes_first_then_the_users_then_the_admins(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    write_context(tmp_path / "data" / "arbora" / "hub" / "admin.yaml", "admin", HERE)
    assert find_context(environ=environ) == ("admin", HERE)
    write_context(tmp_path / "config" / "arbora" / "config.yaml", "prod", PROD)
    assert find_context(environ=environ) == ("prod", PROD)
    assert find_context(name="admin", environ=environ) == ("admin", HERE)
    write_context(tmp_path / "named.yaml", "named", HERE)
    environ["ARBORA_CONFIG"] = str(tmp_path / "named.yaml")
    assert find_context(environ=environ)[0] == "named"
    write_context(tmp_path / "other.yaml", "other", HERE)
    assert find_context(tmp_path / "other.yaml", environ=environ)[0] == "other"


def test_a_data_directory_that_was_moved_is_found(tmp_path: Path, environ: dict[str, str]) -> None:
    write_context(tmp_path / "moved" / "admin.yaml", "admin", HERE)
    assert find_context(environ={**environ, "ARBORA_DATA_DIR": str(tmp_path / "moved")})[0] == "admin"


def test_a_name_that_is_nowhere_is_told_with_what_there_is(tmp_path: Path, environ: dict[str, str]) -> None:
    write_context(tmp_path / "c.yaml", "prod", PROD)
    with pytest.raises(NotFound, match="no context 'x'") as caught:
        find_context(tmp_path / "c.yaml", "x", environ)
    assert caught.value.hint == "There is: prod."
    with pytest.raises(NotFound, match="no context 'x' in"):
        find_context(name="x", environ=environ)
    with pytest.raises(NotFound, match="does not exist"):
        find_context(tmp_path / "nowhere.yaml", environ=environ)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("contexts: {a: {hub: h:1, ca: x, tokn: y}}", "1: contexts.a.tokn: unknown field"),
        ("contexts:\n  a: {hub: h:1, ca: x}", "2: contexts.a: token is missing"),
        ("contexts:\n  a: {hub: h, ca: x, token: y2}", "2: contexts.a.hub: 'h' is not host:port"),
        ("contexts:\n  a: {hub: h:1, ca: 7, token: t}", "2: contexts.a.ca: is a number"),
        ("current: b\ncontexts: {}", "1: current: names no context"),
        ("current: b", "1: contexts is missing"),
        ("contexts:\n  a: {}\n  a: {}", "3: contexts.a: is given twice"),
        ("[]", "1: is a list, not a map"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_contexts(path)
    assert str(caught.value).startswith(f"{path}:{where}")


def test_a_wrong_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("contexts: [")
    with pytest.raises(InvalidInput):
        write_context(path, "prod", PROD)
    assert path.read_text() == "contexts: ["


def test_a_context_never_shows_its_token() -> None:
    assert "arbk" not in repr(PROD)
