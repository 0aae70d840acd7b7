"""A join token lets one key in, in time, under one name; and a lost reply can be asked for again."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import Conflict, InvalidInput, PermissionDenied
from arbora.identity.join_token import (
    JoinRefused,
    JoinToken,
    JoinTokenRecord,
    RefusedBecause,
    hash_secret,
    new_join_token,
    parse,
    redeem,
)
from arbora.identity.names import Kind
from arbora.secret import Secret

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PIN = "0123456789abcdef" * 4
SECOND = timedelta(seconds=1)
KEY, OTHER_KEY = "a" * 64, "b" * 64


def _made(**options: object) -> tuple[JoinToken, JoinTokenRecord]:
    return new_join_token(PIN, NOW, **options)  # type: ignore[arg-type]


def _join(
    record: JoinTokenRecord | None, token: JoinToken, **changes: object
) -> tuple[JoinTokenRecord, str, bool]:
    asked: dict[str, object] = {
        "key_hash": KEY,
        "wanted_name": "edge-7",
        "kind": Kind.AGENT,
        "now": NOW,
    } | changes
    redeemed = redeem(record, token, **asked)  # type: ignore[arg-type]
    return redeemed.record_after, redeemed.name, redeemed.repeated


def _because(record: JoinTokenRecord | None, token: JoinToken, **changes: object) -> RefusedBecause:
    with pytest.raises(JoinRefused) as refused:
        _join(record, token, **changes)
    assert refused.value.hint
    return refused.value.because


# the text


def test_a_token_survives_writing_and_reading() -> None:
    token, _ = _made()
    assert parse(token.text()) == token


def test_a_token_is_one_word_of_letters_digits_and_dots() -> None:
    prefix, token_id, secret, pin = _made()[0].text().split(".")
    assert (prefix, len(token_id), pin) == ("arb1", 10, PIN)
    assert len(secret) * 5 >= 160
    assert (token_id + secret).isalnum()


def test_no_two_tokens_share_an_id_or_a_secret() -> None:
    tokens = [_made()[0] for _ in range(50)]
    assert len({token.id for token in tokens}) == len({token.secret.reveal() for token in tokens}) == 50


def test_neither_token_nor_record_shows_the_secret() -> None:
    token, record = _made()
    assert token.secret.reveal() not in repr(token) + repr(record)
    assert record.secret_hash not in repr(record)


_GOOD = f"arb1.{'a' * 10}.{'b' * 32}.{PIN}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("arb1", id="prefix only"),
        pytest.param(_GOOD.replace("arb1", "arb2"), id="another version"),
        pytest.param(_GOOD.replace("arb1", "arbk"), id="an access token's prefix"),
        pytest.param(_GOOD.rpartition(".")[0], id="no pin"),
        pytest.param(_GOOD + ".x", id="one part more"),
        pytest.param(_GOOD + "." * 100_000, id="over-long"),
        pytest.param(_GOOD[:-1], id="pin too short"),
        pytest.param(_GOOD + "0", id="pin too long"),
        pytest.param(_GOOD.upper(), id="upper case"),
        pytest.param(" " + _GOOD, id="space before"),
        pytest.param(_GOOD + "\n", id="line end"),
        pytest.param(_GOOD.replace("bb", "b'", 1), id="quote"),
        pytest.param(_GOOD.replace("bb", "$(", 1), id="shell"),
        pytest.param(_GOOD.replace("bb", "1b", 1), id="digit that is not base32"),
        pytest.param(_GOOD.replace("bb", "éb", 1), id="unicode"),
        pytest.param(_GOOD.replace("aaaaaaaaaa", "aaaaaaaaa٣"), id="a digit of another script"),
        pytest.param(_GOOD.replace("aaaaaaaaaa", "../../../x"), id="path"),
        pytest.param(_GOOD.replace("aaaaaaaaaa", "a%2faaaaaa"), id="encoded slash"),
    ],
)
def test_a_malformed_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)
    assert "b" * 20 not in str(refused.value) + refused.value.hint


@given(st.text(max_size=120))
def test_a_text_is_a_token_only_if_it_is_written_as_one(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


# the record


def test_only_a_hash_of_the_secret_is_kept() -> None:
    token, record = _made()
    assert record.secret_hash == hashlib.sha256(token.secret.reveal().encode()).hexdigest()
    assert token.secret.reveal() not in str(asdict(record))


def test_a_token_has_one_use_and_one_hour_unless_told_otherwise() -> None:
    _, record = _made()
    assert (record.uses_left, record.expires - NOW, record.kind) == (1, timedelta(hours=1), Kind.AGENT)


@pytest.mark.parametrize(
    "options",
    [
        {"lifetime": timedelta(0)},
        {"uses": 0},
        {"uses": 10_001},
        {"name": "Edge"},
        {"name": "../x"},
        {"name": "edge-7", "uses": 2},
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        _made(**options)


@pytest.mark.parametrize("pin", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_a_pin_is_64_lower_case_hex_digits(pin: str) -> None:
    with pytest.raises(InvalidInput):
        new_join_token(pin, NOW)


# the decision


def test_a_child_joins_under_the_name_it_wants() -> None:
    token, record = _made(labels={"zone": "a"})
    after, name, repeated = _join(record, token)
    assert (name, repeated) == ("edge-7", False)
    assert (after.uses_left, dict(after.bound_keys), dict(after.labels)) == (0, {KEY: "edge-7"}, {"zone": "a"})


def test_a_decision_changes_nothing_by_itself() -> None:
    token, record = _made()
    before = replace(record)
    _join(record, token)
    assert record == before


@pytest.mark.parametrize("wanted", ["", "edge-7"])
def test_a_bound_name_wins(wanted: str) -> None:
    token, record = _made(name="edge-7")
    assert _join(record, token, wanted_name=wanted)[1] == "edge-7"


@pytest.mark.parametrize("wanted", ["edge-77", "edge", "Edge-7", "edge-7 ", "../edge-7"])
def test_another_name_than_the_bound_one_is_refused(wanted: str) -> None:
    token, record = _made(name="edge-7")
    assert _because(record, token, wanted_name=wanted) is RefusedBecause.WRONG_NAME


def test_a_child_without_any_name_is_told_to_take_one() -> None:
    token, record = _made()
    with pytest.raises(InvalidInput) as refused:
        _join(record, token, wanted_name="")
    assert refused.value.field == "name"


@pytest.mark.parametrize("wanted", ["A", "a_b", "a.b", "..", "a/b", "a%2fb", "é", "a" * 64, "a\n"])
def test_a_name_that_is_none_is_refused(wanted: str) -> None:
    token, record = _made()
    with pytest.raises(InvalidInput):
        _join(record, token, wanted_name=wanted)


def test_the_same_key_gets_the_same_answer_again_though_the_uses_are_over() -> None:
    token, record = _made()
    after, name, _ = _join(record, token)
    assert _join(after, token) == (after, name, True)
    assert _join(after, token, wanted_name="") == (after, name, True)


def test_the_same_key_under_another_name_is_refused() -> None:
    token, record = _made(uses=2)
    after, _, _ = _join(record, token)
    assert _because(after, token, wanted_name="edge-8") is RefusedBecause.WRONG_NAME


def test_another_key_is_refused_once_the_token_is_used() -> None:
    token, record = _made()
    after, _, _ = _join(record, token)
    assert _because(after, token, key_hash=OTHER_KEY) is RefusedBecause.USED


def test_a_bound_name_is_not_handed_to_a_second_key() -> None:
    token, record = _made(name="edge-7")
    after, _, _ = _join(record, token)
    assert _because(after, token, key_hash=OTHER_KEY) is RefusedBecause.USED


def test_two_keys_of_one_token_can_not_have_one_name() -> None:
    token, record = _made(uses=2)
    after, _, _ = _join(record, token)
    with pytest.raises(Conflict, match="another child has joined as edge-7"):
        _join(after, token, key_hash=OTHER_KEY)


def test_the_end_is_exact_and_holds_for_repetitions_too() -> None:
    token, record = _made()
    after, _, _ = _join(record, token, now=record.expires - SECOND)
    assert _join(after, token, now=record.expires - SECOND)[2]
    assert _because(record, token, now=record.expires) is RefusedBecause.EXPIRED
    assert _because(after, token, now=record.expires) is RefusedBecause.EXPIRED


@pytest.mark.parametrize(("made_for", "asks"), [(Kind.AGENT, Kind.HUB), (Kind.HUB, Kind.AGENT)])
def test_a_token_for_one_kind_lets_no_other_in(made_for: Kind, asks: Kind) -> None:
    token, record = _made(kind=made_for)
    assert _because(record, token, kind=asks) is RefusedBecause.WRONG_KIND
    assert _join(record, token, kind=made_for)[1] == "edge-7"


def test_an_unknown_token_and_a_wrong_secret_read_the_same() -> None:
    token, record = _made()
    wrong = replace(token, secret=Secret("b" * 32))
    with pytest.raises(PermissionDenied) as unknown:
        _join(None, token)
    with pytest.raises(PermissionDenied) as guessed:
        _join(record, wrong)
    assert (str(unknown.value), unknown.value.hint, unknown.value.reason) == (
        str(guessed.value),
        guessed.value.hint,
        guessed.value.reason,
    )
    assert _because(None, token) is RefusedBecause.UNKNOWN
    assert _because(record, wrong) is RefusedBecause.WRONG_SECRET


def test_without_the_secret_nothing_else_is_told() -> None:
    token, record = _made(name="edge-7")
    wrong = replace(token, secret=Secret("b" * 32))
    used, _, _ = _join(record, token)
    for state in (record, used):
        for changes in ({}, {"now": NOW + timedelta(days=9)}, {"kind": Kind.HUB}, {"wanted_name": "x"}):
            assert _because(state, wrong, **changes) is RefusedBecause.WRONG_SECRET


def test_a_record_of_another_token_does_not_help() -> None:
    token, _ = _made()
    other = replace(_made()[1], secret_hash=hash_secret(token.secret))
    assert _because(other, token) is RefusedBecause.UNKNOWN


@pytest.mark.parametrize(("uses", "winners"), [(1, 1), (3, 3)])
def test_of_100_keys_racing_for_a_token_as_many_win_as_it_has_uses(uses: int, winners: int) -> None:
    token, record = _made(uses=uses)
    won, lost = [], []
    for racer in range(100):
        try:
            record, name, repeated = _join(record, token, key_hash=f"{racer:064x}", wanted_name=f"edge-{racer}")
        except JoinRefused as refused:
            lost.append(refused.because)
        else:
            assert not repeated
            won.append(name)
    assert len(won) == winners
    assert lost == [RefusedBecause.USED] * (100 - winners)
    for racer, name in enumerate(won):
        assert _join(record, token, key_hash=f"{racer:064x}", wanted_name="")[1:] == (name, True)
