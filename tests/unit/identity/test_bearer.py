"""An access token is its holder's role until it ends; nobody learns which half of a wrong one was wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput, Unauthenticated
from arbora.identity import join_token
from arbora.identity.bearer import Role, hash_secret, new_access, parse, verify
from arbora.secret import Secret
from arbora.v1 import access_pb2

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_token_survives_writing_and_reading() -> None:
    token, _ = new_access("ci", Role.OPERATOR, NOW)
    assert parse(token.text()) == token


def test_a_secret_has_256_bits_or_more_and_is_kept_as_a_hash() -> None:
    token, record = new_access("ci", Role.OPERATOR, NOW)
    assert len(token.secret.reveal()) * 5 >= 256
    assert record.secret_hash == hash_secret(token.secret)
    assert token.secret.reveal() not in repr(token) + repr(record)
    assert record.secret_hash not in repr(record)


def test_a_genuine_token_gives_its_record() -> None:
    token, record = new_access("ci", Role.VIEWER, NOW)
    assert verify(record, token, NOW + timedelta(days=9000)) is record


def test_an_access_ends_when_it_says() -> None:
    token, record = new_access("ci", Role.VIEWER, NOW, timedelta(hours=1))
    assert verify(record, token, NOW + timedelta(minutes=59)) is record
    with pytest.raises(Unauthenticated, match="the access ci ended"):
        verify(record, token, NOW + timedelta(hours=1))


def test_an_unknown_id_and_a_wrong_secret_read_the_same() -> None:
    token, record = new_access("ci", Role.ADMIN, NOW, timedelta(hours=1))
    wrong = replace(token, secret=Secret("a" * 52))
    texts = set()
    for kept, shown, at in (
        (None, token, NOW),
        (record, wrong, NOW),
        (record, wrong, NOW + timedelta(days=1)),
        (replace(record, id="b" * 10), token, NOW),
    ):
        with pytest.raises(Unauthenticated) as refused:
            verify(kept, shown, at)
        texts.add((str(refused.value), refused.value.hint))
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["", "Ops", "a b", "a\n", "../x"])
def test_an_access_has_a_proper_name(name: str) -> None:
    with pytest.raises(InvalidInput):
        new_access(name, Role.VIEWER, NOW)


def test_a_lifetime_must_be_positive() -> None:
    with pytest.raises(InvalidInput):
        new_access("ci", Role.VIEWER, NOW, timedelta(0))


_GOOD = f"arbk.{'a' * 10}.{'b' * 52}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        _GOOD + "b",
        _GOOD[:-1],
        _GOOD + ".x",
        _GOOD + "\r\nx: y",
        "Bearer " + _GOOD,
        _GOOD.upper(),
        _GOOD.replace("arbk", "arb1"),
        _GOOD.replace("bb", "b ", 1),
        _GOOD.replace("b", "８", 1),
        join_token.new_join_token("0" * 64, NOW)[0].text(),
    ],
)
def test_a_malformed_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)
    assert "b" * 20 not in str(refused.value) + refused.value.hint


@given(st.text(max_size=80))
def test_a_text_is_a_token_only_if_it_is_written_as_one(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_each_role_may_what_those_below_may() -> None:
    for have in Role:
        for needed in Role:
            assert have.allows(needed) is (have.value >= needed.value)
    assert not Role.VIEWER.allows(Role.OPERATOR)
    assert Role.ADMIN.allows(Role.OPERATOR)


def test_the_roles_numbers_are_those_of_the_wire() -> None:
    assert {f"ROLE_{role.name}": role.value for role in Role} | {"ROLE_UNSPECIFIED": 0} == dict(
        access_pb2.Role.items()
    )
