"""A member's dotted name, which clients of the gateway use as a user's name, is its path and nothing else's."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.identity.names import MAX_DEPTH, Path
from arbora_hub.gateway.naming import dotted

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
PATHS = st.lists(LABELS, min_size=1, max_size=MAX_DEPTH).map(lambda labels: Path(tuple(labels)))


@pytest.mark.parametrize(
    ("path", "name"),
    [("edge-7", "edge-7"), ("paris/edge-7", "edge-7.paris"), ("/eu/paris/edge-7", "edge-7.paris.eu")],
)
def test_the_member_stands_first(path: str, name: str) -> None:
    assert dotted(path) == name


@given(PATHS)
def test_a_dotted_name_reads_back_to_its_path(path: Path) -> None:
    assert Path(tuple(reversed(dotted(str(path)).split(".")))) == path


@given(PATHS, PATHS)
def test_two_members_never_have_one_name(one: Path, other: Path) -> None:
    assert (dotted(str(one)) == dotted(str(other))) is (one == other)


@given(PATHS)
def test_a_dotted_name_stands_in_an_address_as_it_is(path: Path) -> None:
    name = dotted(str(path))
    assert quote(name, safe="") == name
    assert ":" not in name
