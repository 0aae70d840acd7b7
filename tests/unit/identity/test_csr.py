"""Of a certificate request only the public key counts, and only if its holder signed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora.identity import csr, keys


def _request(
    key: object, subject: str = "", uri: str = "", algorithm: hashes.HashAlgorithm | None = None
) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if uri:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def _with_another_signature() -> bytes:
    der = csr.build(keys.new_key())
    return der[:-1] + bytes([der[-1] ^ 1])


def _with_another_key() -> bytes:
    """A request whose public key was exchanged after signing."""
    mine, victim = csr.build(keys.new_key()), keys.new_key().public_key()
    point = x509.load_der_x509_csr(mine).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)  # type: ignore[union-attr]
    return mine.replace(point, victim.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


_SHA256 = hashes.SHA256()


def test_a_request_yields_the_key_that_signed_it() -> None:
    key = keys.new_key()
    assert csr.verify(csr.build(key)) == key.public_key()


def test_a_request_names_nobody() -> None:
    request = x509.load_der_x509_csr(csr.build(keys.new_key()))
    assert list(request.subject) == []
    assert list(request.extensions) == []


def test_a_foreign_subject_and_foreign_extensions_are_ignored() -> None:
    key = keys.new_key()
    der = _request(key, "system:masters", "spiffe://prod.example.org/hub/victim", _SHA256)
    assert csr.verify(der) == key.public_key()


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x30\x82\xff\xff", id="a length without content"),
        pytest.param(csr.build(keys.new_key()) + b"\0", id="something after it"),
        pytest.param(csr.build(keys.new_key())[:-5], id="cut off"),
        pytest.param(_with_another_signature(), id="bad signature"),
        pytest.param(_with_another_key(), id="another's key"),
        pytest.param(_request(rsa.generate_private_key(65537, 1024), algorithm=_SHA256), id="RSA-1024"),
        pytest.param(_request(rsa.generate_private_key(65537, 2048), algorithm=_SHA256), id="RSA-2048"),
        pytest.param(_request(ec.generate_private_key(ec.SECP224R1()), algorithm=_SHA256), id="P-224"),
        pytest.param(_request(ec.generate_private_key(ec.SECP384R1()), algorithm=_SHA256), id="P-384"),
        pytest.param(_request(ec.generate_private_key(ec.SECP256K1()), algorithm=_SHA256), id="secp256k1"),
        pytest.param(_request(ed25519.Ed25519PrivateKey.generate()), id="Ed25519"),
        pytest.param(_request(keys.new_key(), "x", "spiffe://" + "a" * 9000, _SHA256), id="over-long"),
    ],
)
def test_an_attack_by_request_is_refused(der: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        csr.verify(der)
    assert refused.value.field == "csr"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_an_error_and_never_a_crash(der: bytes) -> None:
    with pytest.raises(InvalidInput):
        csr.verify(der)


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=0, max_value=180), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_an_error_or_changes_nothing(position: int, flip: int) -> None:
    key = keys.new_key()
    der = bytearray(csr.build(key))
    der[position % len(der)] ^= flip
    with suppress(InvalidInput):
        assert csr.verify(bytes(der)) == key.public_key()
