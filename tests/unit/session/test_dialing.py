"""The pure parts of the dialing side: back-off, addresses, reactions, the kept identity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora.identity import authority, issue, keys
from arbora.identity.names import Kind, SpiffeId
from arbora.session.addresses import absolute, join, split
from arbora.session.backoff import BASE_SECONDS, CAP_SECONDS, Backoff
from arbora.session.credential import Credential, CredentialFile
from arbora.session.state import HINTS, REACTIONS, Reaction, reaction_to
from arbora.v1 import enrollment_pb2 as pb

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40))
def test_back_off_has_full_jitter_below_a_ceiling_that_doubles(chances: list[float]) -> None:
    backoff = Backoff()
    for attempt, chance in enumerate(chances):
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2**attempt)
        assert backoff.next(chance) == pytest.approx(ceiling * chance)
    backoff.succeeded()
    assert backoff.next(0.999) < BASE_SECONDS


@pytest.mark.parametrize(
    ("text", "host", "port"), [("a.b:1", "a.b", 1), ("[::1]:65535", "::1", 65535), (":7445", "", 7445)]
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert split(text) == (host, port)
    assert join(host, port) == text


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:70000", "::1:22", "host:-1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        split(text)


def test_a_session_address_without_a_host_is_on_the_join_ports_host() -> None:
    assert absolute(":7445", "hub.example.org:7444") == "hub.example.org:7445"
    assert absolute("other:7445", "hub.example.org:7444") == "other:7445"


def test_every_refusal_has_exactly_one_reaction_and_every_stop_a_way_out() -> None:
    assert REACTIONS.keys() == set(pb.Refusal.values())
    stops = {refusal for refusal, reaction in REACTIONS.items() if reaction is Reaction.STOP}
    assert stops == HINTS.keys()


def test_a_refusal_of_a_newer_hub_is_worth_another_try() -> None:
    assert reaction_to(9999) is Reaction.RECONNECT


def credential() -> Credential:
    hub = authority.make_authority("test.arbora", NOW)
    key = keys.new_key()
    leaf = issue.issue_child(hub, key.public_key(), SpiffeId("test.arbora", Kind.AGENT, "edge-7"), NOW)
    from cryptography.hazmat.primitives.serialization import Encoding

    return Credential(
        name="edge-7",
        path="/edge-7",
        join_address="hub:7444",
        session_address="hub:7445",
        leaf=leaf.public_bytes(Encoding.DER),
        bundle=(hub.certificate.public_bytes(Encoding.DER),),
        key_pem=keys.to_pem(key),
        joined_with="abc",
    )


async def test_an_identity_is_kept_as_it_was_and_only_for_its_owner(tmp_path: FilePath) -> None:
    store = CredentialFile(tmp_path / "agent")
    assert await store.load() is None
    await store.save(credential())
    loaded = await store.load()
    assert loaded is not None
    assert loaded.name == "edge-7"
    assert (tmp_path / "agent" / "identity.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o700


async def test_the_key_that_waits_for_its_certificate_is_kept_too(tmp_path: FilePath) -> None:
    store = CredentialFile(tmp_path)
    assert await store.pending_key() is None
    await store.save_pending_key(b"key")
    assert await CredentialFile(tmp_path).pending_key() == b"key"


def test_an_identity_survives_its_text_and_hides_its_key() -> None:
    one = credential()
    assert Credential.from_json(one.to_json()) == one
    assert one.key_pem.decode() not in repr(one)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 1}', "null"])
def test_a_damaged_identity_says_what_to_do(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Credential.from_json(text)
    assert "join again" in caught.value.hint


def test_a_certificate_is_renewed_around_half_of_its_life() -> None:
    one = credential()
    assert timedelta(hours=10.5) < one.renew_after(NOW, 0.0) < one.renew_after(NOW, 1.0) < timedelta(hours=13.5)
    assert one.renew_after(NOW + timedelta(days=2), 0.5) == timedelta(0)
    assert not one.expired(NOW)
    assert one.expired(NOW + timedelta(hours=25))
