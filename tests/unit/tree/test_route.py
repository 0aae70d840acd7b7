"""Where a path leads: here, to a child, or further down. Only whole labels count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput, NotFound
from arbora.identity.names import Path
from arbora_hub.tree.route import Below, Direct, Here, Route, route, to_member

EU = Path(("eu",))
names = st.from_regex(r"[a-z]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
paths = st.lists(names, max_size=6).map(lambda labels: Path(tuple(labels)))
below = st.lists(names, min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "leads_to"),
    [
        ("/eu", Here()),
        ("", Here()),
        ("/eu/edge-7", Direct("edge-7")),
        ("edge-7", Direct("edge-7")),
        ("/eu/paris/edge-7", Below("paris", Path(("edge-7",)))),
        ("paris/edge-7", Below("paris", Path(("edge-7",)))),
        ("paris/site/edge-7", Below("paris", Path(("site", "edge-7")))),
    ],
)
def test_a_path_leads_here_to_a_child_or_further_down(text: str, leads_to: Route) -> None:
    assert route(EU, text) == leads_to


@pytest.mark.parametrize("text", ["/", "/us", "/europe/edge-7", "/e", "/eu-2/edge-7"])
def test_what_is_not_below_is_refused_with_the_path_of_this_hub_and_who_to_ask(text: str) -> None:
    with pytest.raises(NotFound, match="is not below this hub, /eu") as refused:
        route(EU, text)
    assert "above" in refused.value.hint


@pytest.mark.parametrize("text", ["/EU/x", "a//b", "/eu/..", "edge 7", "x/", "a/" * 17 + "a"])
def test_what_is_no_path_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        route(EU, text, "member")
    assert refused.value.field == "member"


@pytest.mark.parametrize("text", ["/eu", ""])
def test_the_hub_itself_is_no_member_of_it(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"this hub itself|names no member"):
        to_member(EU, text)


@given(own=paths, rest=below)
def test_a_path_from_the_root_and_the_same_from_the_hub_lead_to_the_same(own: Path, rest: list[str]) -> None:
    relative = "/".join(rest)
    absolute = str(Path((*own.labels, *rest)))
    assert route(own, absolute) == route(own, relative)


@given(own=paths, rest=below)
def test_going_hop_by_hop_arrives_at_the_owner_without_a_label_lost_or_added(own: Path, rest: list[str]) -> None:
    at, text = own, "/".join(rest)
    while isinstance(place := to_member(at, text), Below):
        at, text = at.child(place.child), place.text
    assert at.child(place.name) == Path((*own.labels, *rest))


@given(own=paths, other=paths)
def test_a_path_from_the_root_is_accepted_exactly_if_the_hubs_labels_are_its_first(
    own: Path, other: Path
) -> None:
    inside = other.labels[: len(own.labels)] == own.labels
    try:
        route(own, str(other))
    except NotFound:
        assert not inside
    else:
        assert inside
