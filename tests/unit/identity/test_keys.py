"""A key is P-256, and a file with anything else is refused with a clear error."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from arbora.errors import InvalidInput
from arbora.identity import keys


def test_a_key_survives_writing_and_reading() -> None:
    key = keys.new_key()
    assert keys.from_pem(keys.to_pem(key)).private_numbers() == key.private_numbers()


def test_two_keys_differ() -> None:
    assert keys.new_key().private_numbers() != keys.new_key().private_numbers()


def _pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    "pem",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no pem at all", id="text"),
        pytest.param(keys.to_pem(keys.new_key())[:100], id="cut off"),
        pytest.param(b"\xff" * 10_000, id="over-long"),
        pytest.param(_pem(rsa.generate_private_key(65537, 2048)), id="RSA"),
        pytest.param(_pem(ec.generate_private_key(ec.SECP224R1())), id="P-224"),
        pytest.param(_pem(ec.generate_private_key(ec.SECP384R1())), id="P-384"),
        pytest.param(_pem(ec.generate_private_key(ec.SECP256K1())), id="secp256k1"),
        pytest.param(_pem(ed25519.Ed25519PrivateKey.generate()), id="Ed25519"),
        pytest.param(
            keys.new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            id="encrypted",
        ),
    ],
)
def test_only_one_unencrypted_p256_key_is_read(pem: bytes) -> None:
    with pytest.raises(InvalidInput):
        keys.from_pem(pem)


def test_a_keys_hash_is_the_sha256_of_its_public_key_info() -> None:
    public = keys.new_key().public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert keys.key_hash(public) == hashlib.sha256(spki).hexdigest()
