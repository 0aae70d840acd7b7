"""What is due for an AuthTokenRequest: each rule by example, and that no state is left without an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.kubernetes.tokens.decide import (
    RELOOK_SECONDS,
    Hold,
    Issued,
    Mint,
    Refuse,
    Seen,
    TakeBack,
    Target,
    Wait,
    decide,
    renewal,
)

EDGE = Target("/eu/edge-7", "uid-1")
GOOD = Issued("/eu/edge-7", "uid-1", generation=1, expires=3600.0, rotate=2880.0)
RUNNING = Seen(generation=1, held=True, target=EDGE, issued=GOOD, secret="ours")


def test_a_new_request_is_held_before_anything_is_made() -> None:
    new = replace(RUNNING, held=False, issued=Issued(), secret="absent")
    assert decide(new, 0.0) == Hold()
    assert decide(replace(new, held=True), 0.0) == Mint(EDGE)


def test_a_good_token_is_left_alone_until_it_is_due() -> None:
    assert decide(RUNNING, 0.0) == Wait(RELOOK_SECONDS)
    assert decide(RUNNING, 2870.0) == Wait(10.0)
    assert decide(RUNNING, 2880.0) == Mint(EDGE)


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": 2},
        {"secret": "absent"},
        {"target": Target("/us/edge-7", "uid-1")},
    ],
    ids=["other wishes", "its Secret is gone", "the member moved"],
)
def test_a_token_is_made_anew_when_it_is_no_longer_what_is_asked(changed: dict[str, object]) -> None:
    seen = replace(RUNNING, **changed)  # type: ignore[arg-type]
    assert decide(seen, 0.0) == Mint(seen.target or EDGE)


def test_another_cluster_under_the_same_name_gets_no_token_until_somebody_accepts_it() -> None:
    other = replace(RUNNING, target=Target("/eu/edge-7", "uid-2"))
    taken = decide(other, 0.0)
    assert isinstance(taken, TakeBack) and taken.reason == "ClusterReplaced"
    assert "uid-2" in taken.message
    assert decide(replace(other, accepted_uid="uid-2"), 0.0) == Mint(Target("/eu/edge-7", "uid-2"))
    assert isinstance(decide(replace(other, accepted_uid="uid-3"), 0.0), TakeBack)


def test_a_member_that_is_no_longer_published_here_gives_no_token() -> None:
    taken = decide(replace(RUNNING, target=None), 0.0)
    assert isinstance(taken, TakeBack) and taken.reason == "ProfileNotFound"


def test_a_secret_of_somebody_else_hinders_no_taking_back() -> None:
    foreign = replace(RUNNING, secret="foreign", target=None)
    assert isinstance(decide(foreign, 0.0), TakeBack)


def test_a_secret_of_somebody_else_is_never_written() -> None:
    foreign = replace(RUNNING, secret="foreign")
    assert isinstance(decide(foreign, 1e9), Refuse)


SEEN = st.builds(
    Seen,
    generation=st.integers(1, 2),
    held=st.booleans(),
    target=st.none() | st.builds(Target, st.sampled_from(["/a", "/b"]), st.sampled_from(["u", "v"])),
    issued=st.builds(
        Issued,
        st.sampled_from(["/a", "/b"]),
        st.sampled_from(["", "u", "v"]),
        st.integers(0, 2),
        st.floats(0, 100),
        st.floats(0, 100),
    ),
    secret=st.sampled_from(["ours", "absent", "foreign"]),
    accepted_uid=st.sampled_from(["", "u", "v"]),
)


@given(SEEN, st.floats(0, 200))
def test_a_token_is_only_ever_asked_of_the_cluster_it_was_given_for_or_an_accepted_one(
    seen: Seen, now: float
) -> None:
    action = decide(seen, now)
    if isinstance(action, Mint):
        assert seen.held and seen.secret != "foreign"
        assert action.target == seen.target
        assert (
            action.target.cluster_uid in (seen.issued.cluster_uid, seen.accepted_uid)
            or not seen.issued.cluster_uid
        )
    if isinstance(action, Wait):
        assert now < seen.issued.expires and seen.secret == "ours" and seen.target is not None


@given(st.floats(600, 86400), st.floats(0.1, 0.95), st.floats(0, 1, exclude_max=True))
def test_renewal_comes_before_the_wanted_part_of_the_actual_life_is_over(
    life: float, fraction: float, chance: float
) -> None:
    due = renewal(life, fraction, chance)
    assert life * (fraction - 0.05) <= due <= life * fraction
