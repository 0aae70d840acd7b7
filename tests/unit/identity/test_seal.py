"""What is sealed to a requester opens there, for that request, unchanged; and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.errors import InvalidInput, PermissionDenied
from arbora.identity.names import Path
from arbora.identity.seal import MAX_PLAINTEXT, new_recipient, open_sealed, seal, token_context

CONTEXT = token_context("r-1", Path.parse("/eu/paris/edge-7"))


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000), st.binary(max_size=300))
def test_what_is_sealed_opens_again(plaintext: bytes, context: bytes) -> None:
    private, public = new_recipient()
    sealed = seal(public, plaintext, context=context)
    assert open_sealed(private, sealed, context=context) == plaintext
    assert len(sealed) == len(plaintext) + 49


def test_the_text_is_not_in_the_sealed_bytes_and_no_two_are_alike() -> None:
    _, public = new_recipient()
    first, second = (seal(public, b"a very secret token", context=CONTEXT) for _ in range(2))
    assert b"secret" not in first
    assert first != second


def test_a_public_key_has_32_bytes() -> None:
    private, public = new_recipient()
    assert len(public) == 32
    assert public == private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(token_context("r-2", Path.parse("/eu/paris/edge-7")), id="another request"),
        pytest.param(token_context("r-1", Path.parse("/eu/paris/edge-77")), id="a path that begins alike"),
        pytest.param(token_context("r-1", Path.parse("/eu/paris")), id="the hub above"),
        pytest.param(token_context("r-1/eu", Path.parse("/paris/edge-7")), id="the same letters, cut elsewhere"),
        pytest.param(b"", id="none"),
    ],
)
def test_an_answer_to_another_question_does_not_open(other: bytes) -> None:
    private, public = new_recipient()
    with pytest.raises(PermissionDenied):
        open_sealed(private, seal(public, b"x", context=CONTEXT), context=other)


def test_another_key_does_not_open_it() -> None:
    _, public = new_recipient()
    other, _ = new_recipient()
    with pytest.raises(PermissionDenied):
        open_sealed(other, seal(public, b"x", context=CONTEXT), context=CONTEXT)


def test_a_change_of_any_byte_is_noticed() -> None:
    private, public = new_recipient()
    sealed = seal(public, b"token", context=CONTEXT)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 0x01
        with pytest.raises(PermissionDenied):
            open_sealed(private, bytes(changed), context=CONTEXT)


def test_a_cut_or_prolonged_text_is_noticed() -> None:
    private, public = new_recipient()
    sealed = seal(public, b"token", context=CONTEXT)
    for changed in (b"", b"\x01", sealed[:-1], sealed[:40], sealed + b"\0", b"\x01" * (MAX_PLAINTEXT + 50)):
        with pytest.raises(PermissionDenied):
            open_sealed(private, changed, context=CONTEXT)


def test_an_ephemeral_key_of_low_order_is_refused() -> None:
    private, _ = new_recipient()
    with pytest.raises(PermissionDenied):
        open_sealed(private, b"\x01" + bytes(32) + bytes(21), context=CONTEXT)


@pytest.mark.parametrize("public", [b"", b"x" * 31, b"x" * 33, bytes(32)])
def test_a_bad_public_key_is_refused(public: bytes) -> None:
    with pytest.raises(InvalidInput):
        seal(public, b"x", context=CONTEXT)


def test_the_longest_text_is_sealed_and_a_longer_one_refused() -> None:
    private, public = new_recipient()
    longest = b"x" * MAX_PLAINTEXT
    assert open_sealed(private, seal(public, longest, context=CONTEXT), context=CONTEXT) == longest
    with pytest.raises(InvalidInput):
        seal(public, longest + b"x", context=CONTEXT)


# RFC 9180 by hand: another implementation must be able to open what we seal


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", hashlib.sha256)[:length]


def _open_by_the_rfc(private: X25519PrivateKey, ciphertext: bytes, info: bytes) -> bytes:
    enc, body = ciphertext[:32], ciphertext[32:]
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    exchanged = private.exchange(X25519PublicKey.from_public_bytes(enc))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = _expand(kem, _extract(kem, b"", b"eae_prk", exchanged), b"shared_secret", enc + public, 32)
    hashes = _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    key = _expand(suite, secret, b"key", b"\0" + hashes, 32)
    nonce = _expand(suite, secret, b"base_nonce", b"\0" + hashes, 12)
    return AESGCM(key).decrypt(nonce, body, b"")


def test_a_seal_is_hpke_as_rfc_9180_writes_it() -> None:
    private, public = new_recipient()
    sealed = seal(public, b"token", context=CONTEXT)
    assert sealed[0] == 1
    assert _open_by_the_rfc(private, sealed[1:], b"arbora/seal/1\0" + CONTEXT) == b"token"
