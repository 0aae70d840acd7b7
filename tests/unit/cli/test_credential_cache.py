"""Tokens that the credential plugin keeps: for their owner only, while good, never for another question."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbora.cli import credential_cache as cache

NOW = float(int(time.time()))  # that of the files, too
HOUR = 3600.0
ASKED = ("account=team/ana", "member=edge-7")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, NOW + HOUR, NOW, 1e18])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return cache.place(cache.folder({"XDG_CACHE_HOME": str(tmp_path)}), ASKED)


def put(file: Path, text: str | bytes) -> None:
    """What somebody else wrote there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(0o600)


def kept(**changes: Any) -> str:
    return json.dumps({"token": "t", "made": NOW, "expires": NOW + HOUR, **changes})


def test_what_is_written_is_read_back_while_it_is_good(file: Path) -> None:
    cache.write(file, "a-token", NOW, NOW + HOUR)
    assert cache.read(file, NOW) == {"token": "a-token", "made": NOW, "expires": NOW + HOUR}


def test_it_is_for_its_owner_only_also_where_others_may_read_new_files(file: Path) -> None:
    before = os.umask(0)
    try:
        cache.write(file, "a-token", NOW, NOW + HOUR)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file], "and no temporary file is left"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_one_that_others_could_have_read_or_written_is_not_used(file: Path, mode: int) -> None:
    cache.write(file, "a-token", NOW, NOW + HOUR)
    file.chmod(mode)
    assert cache.read(file, NOW) is None


@pytest.mark.parametrize(
    ("life", "age", "good"),
    [
        (HOUR, 0, True),
        (HOUR, 0.79 * HOUR, True),
        (HOUR, 0.81 * HOUR, False),
        (HOUR, HOUR, False),
        (HOUR, 9 * HOUR, False),
        (100, 39, True),
        (100, 41, False),
        (60, 0, False),
        (HOUR, -10, False),
    ],
    ids=[
        "new",
        "a fifth is left",
        "less is left",
        "over",
        "long over",
        "a minute is left",
        "less than a minute",
        "shorter than a minute",
        "made in the future",
    ],
)
def test_it_is_used_while_enough_of_its_life_is_left(file: Path, life: float, age: float, good: bool) -> None:
    cache.write(file, "a-token", NOW, NOW + life)
    assert (cache.read(file, NOW + age) is not None) is good


DAMAGED: list[str | bytes] = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '"a-token"',
    "{}",
    b"\xff\xfe\x00",
    "[" * 100_000,
    kept(token=None),
    kept(token=7),
    kept(expires="later"),
    kept(expires=None),
    kept(expires=10**400),
    kept(expires=1e300),
    kept(expires=1e18, made=0),
    kept(expires=float("nan")),
    kept(expires=float("inf")),
    kept(made="before"),
    kept(made=[]),
    kept(made=float("nan")),
]


@pytest.mark.parametrize("text", DAMAGED, ids=[str(number) for number, _ in enumerate(DAMAGED)])
def test_a_damaged_one_is_as_none(file: Path, text: str | bytes) -> None:
    put(file, text)
    assert cache.read(file, NOW) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON | st.fixed_dictionaries({"token": JSON, "made": NUMBERS | JSON, "expires": NUMBERS | JSON}))
def test_whatever_stands_there_is_a_token_that_is_good_or_none(file: Path, content: object) -> None:
    put(file, json.dumps(content))
    found = cache.read(file, NOW)
    if found is not None:
        assert isinstance(found["token"], str)
        assert found["made"] <= NOW < found["expires"] - cache.LEAST_SECONDS


def test_nothing_kept_is_none(file: Path) -> None:
    assert cache.read(file, NOW) is None
    file.parent.mkdir(parents=True)
    file.mkdir()
    assert cache.read(file, NOW) is None


@given(
    st.lists(st.text(max_size=8), max_size=4),
    st.lists(st.text(max_size=8), max_size=4),
)
def test_two_questions_never_share_a_place(one: list[str], other: list[str]) -> None:
    folder = Path("/cache")
    assert (cache.place(folder, one) == cache.place(folder, other)) is (one == other)


def test_nothing_of_the_question_stands_in_the_name(file: Path) -> None:
    assert file.name.isalnum()
    assert "edge" not in file.name


def test_a_newer_token_takes_the_place_of_the_older(file: Path) -> None:
    cache.write(file, "old", NOW, NOW + HOUR)
    cache.write(file, "new", NOW + 1, NOW + HOUR)
    found = cache.read(file, NOW + 1)
    assert found is not None
    assert found["token"] == "new"


def test_tokens_of_other_days_are_forgotten_and_others_stay(file: Path) -> None:
    old, recent = file.with_name("old"), file.with_name("recent")
    for other, age in ((old, 90_000), (recent, 80_000)):
        put(other, kept())
        os.utime(other, (NOW - age, NOW - age))
    cache.write(file, "a-token", NOW, NOW + HOUR)
    assert {each.name for each in file.parent.iterdir()} == {"recent", file.name}


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "arbora").write_text("in the way")
    file = cache.place(cache.folder({"XDG_CACHE_HOME": str(tmp_path)}), ASKED)
    cache.write(file, "a-token", NOW, NOW + HOUR)
    assert cache.read(file, NOW) is None


def test_tokens_lie_in_the_users_cache(tmp_path: Path) -> None:
    home = {"HOME": "/home/ana"}
    assert cache.folder(home) == Path("/home/ana/.cache/arbora/credentials")
    assert cache.folder({**home, "XDG_CACHE_HOME": "/c"}) == Path("/c/arbora/credentials")
