"""The member's own list decides which tokens are minted."""

from __future__ import annotations

import pytest

from arbora.errors import InvalidInput
from arbora_agent.allow import TokenPolicy


def test_nothing_is_allowed_by_default() -> None:
    assert "does not name default/default" in TokenPolicy.parse((), 3600).refusal("default", "default", 600)


def test_only_what_is_listed_is_allowed_and_only_for_so_long() -> None:
    policy = TokenPolicy.parse(("batch/reader",), 3600)
    assert policy.refusal("batch", "reader", 3600) == ""
    assert policy.refusal("batch", "reader", 3601)
    assert policy.refusal("batch", "reader2", 600)
    assert policy.refusal("batch2", "reader", 600)


def test_a_whole_namespace_can_be_listed() -> None:
    policy = TokenPolicy.parse(("batch/*", "team/reader"), 3600)
    assert policy.refusal("batch", "anybody", 3600) == ""
    assert policy.refusal("team", "anybody", 3600)
    assert policy.refusal("batch2", "anybody", 3600)


def test_a_refusal_says_what_would_allow_it() -> None:
    assert "--allow-token batch/reader" in TokenPolicy.parse((), 3600).refusal("batch", "reader", 600)


@pytest.mark.parametrize("text", ["", "reader", "/reader", "batch/", "a/b/c", "Batch/reader", "*/*", "batch/re*"])
def test_an_entry_that_is_no_account_is_refused_at_start(text: str) -> None:
    with pytest.raises(InvalidInput):
        TokenPolicy.parse((text,), 3600)
