"""The id of a grant that nobody named: stable, a DNS label, and no two the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbora.cli.granting import grant_id
from arbora.identity.names import check_name

TEXT = st.text(max_size=300)


@given(TEXT, TEXT, TEXT)
def test_whatever_the_account_is_called_the_id_is_a_name(namespace: str, account: str, caller: str) -> None:
    id = grant_id(namespace, account, caller)
    assert check_name(id) == id == grant_id(namespace, account, caller)


def test_another_account_or_caller_has_another_id() -> None:
    asked = [("team", "ci", "ana"), ("team", "ci", "bob"), ("team2", "ci", "ana"), ("team", "c", "iana")]
    assert len({grant_id(*each) for each in asked}) == 4
    assert grant_id("team", "ci.deploy", "ana").startswith("ci-deploy-")
