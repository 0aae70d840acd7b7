"""Which members take a workload, and why others don't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.manifests.matching import matches
from arbora.manifests.selectors import Requirement, Selector, parse_selector
from arbora_hub.placement.choose import Candidate, Wish, choose

H100 = Candidate("paris", {"gpu": "h100", "count": "32"})
A100 = Candidate("oslo", {"gpu": "a100", "count": "8"})
EDGE = Candidate("edge-7", {"zone": "edge"})
ALL = (H100, A100, EDGE)
NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("gpu=h100", ["paris"]),
        ("gpu", ["oslo", "paris"]),
        ("!gpu", ["edge-7"]),
        ("gpu!=h100", ["edge-7", "oslo"]),
        ("gpu in (h100,a100)", ["oslo", "paris"]),
        ("gpu notin (h100)", ["edge-7", "oslo"]),
        ("count>8", ["paris"]),
        ("count<9", ["oslo"]),
        ("gpu=h100,zone=edge", []),
    ],
)
def test_a_selector_means_what_it_means_in_kubernetes(text: str, chosen: list[str]) -> None:
    assert list(choose(Wish(selector=parse_selector(text)), ALL, NOBODY).chosen) == chosen


def test_listed_and_selected_members_add_up() -> None:
    wish = Wish(("edge-7",), parse_selector("gpu=h100"))
    assert choose(wish, ALL, NOBODY).chosen == ("edge-7", "paris")


def test_a_listed_name_that_is_no_member_is_told() -> None:
    choice = choose(Wish(("ghost",)), ALL, NOBODY)
    assert choice.chosen == ()
    assert choice.sentence == "placed on 0 members; not on ghost: is not a member of this hub"


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (Candidate("paris", {}, cordoned=True), "is cordoned"),
        (Candidate("paris", {}, (("disk", "bad", "NoSchedule"),)), "has the taint disk=bad:NoSchedule"),
        (Candidate("paris", {}, (("gone", "", "NoExecute"),)), "has the taint gone:NoExecute"),
        (Candidate("paris", {}, lost=True), "is lost"),
    ],
)
def test_new_work_stays_away_for_a_reason_and_work_that_is_there_stays(candidate: Candidate, reason: str) -> None:
    wish = Wish(("paris",))
    assert choose(wish, [candidate], NOBODY).left_out == (("paris", reason),)
    assert choose(wish, [candidate], frozenset({"paris"})).chosen == ("paris",)


def test_a_taint_that_only_prefers_does_not_keep_work_away() -> None:
    candidate = Candidate("paris", {}, (("slow", "", "PreferNoSchedule"),))
    assert choose(Wish(("paris",)), [candidate], NOBODY).chosen == ("paris",)


@given(st.permutations(ALL))
def test_the_order_of_the_members_changes_nothing(candidates: list[Candidate]) -> None:
    wish = Wish(("edge-7", "ghost"), parse_selector("gpu"))
    assert choose(wish, candidates, NOBODY) == choose(wish, ALL, NOBODY)


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", "x"])))
def test_in_and_not_in_are_opposites(labels: dict[str, str]) -> None:
    inside = Selector(match_expressions=(Requirement("a", "In", ("1",)),))
    outside = Selector(match_expressions=(Requirement("a", "NotIn", ("1",)),))
    assert matches(inside, labels) is not matches(outside, labels)
