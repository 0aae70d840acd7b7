"""An authority signs leaves of one trust domain, for ten years, and can be kept as PEM."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from arbora.errors import InvalidInput
from arbora.identity import keys
from arbora.identity.authority import (
    Authority,
    check_authority,
    load_authority,
    make_authority,
    pin,
    to_pem,
    trust_domain_of,
)
from arbora.identity.issue import issue_child, issue_server
from arbora.identity.names import Kind, SpiffeId


def test_an_authority_may_sign_leaves_and_nothing_else(authority: Authority) -> None:
    extensions = authority.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


def test_an_authority_is_valid_for_ten_years_from_five_minutes_ago(authority: Authority, now: datetime) -> None:
    assert authority.certificate.not_valid_before_utc == now - timedelta(minutes=5)
    assert authority.certificate.not_valid_after_utc == now + timedelta(days=3650)


def test_an_authority_names_its_trust_domain_for_people_and_for_programs(authority: Authority) -> None:
    assert authority.certificate.subject.rfc4514_string() == "CN=arbora prod.example.org"
    assert authority.trust_domain == "prod.example.org"


def test_a_trust_domain_may_be_longer_than_a_common_name(now: datetime) -> None:
    domain = ".".join(["a" * 60] * 4)
    assert make_authority(domain, now).trust_domain == domain


@pytest.mark.parametrize("domain", ["", "Prod", "a..b", "a/b", "a b", "пример", "a%2fb", "-a", "a" * 254, "a\n"])
def test_a_bad_trust_domain_is_refused(domain: str, now: datetime) -> None:
    with pytest.raises(InvalidInput):
        make_authority(domain, now)


def test_a_lifetime_must_be_positive(now: datetime) -> None:
    with pytest.raises(InvalidInput):
        make_authority("a", now, timedelta(0))


def test_an_authority_survives_writing_and_reading(authority: Authority) -> None:
    loaded = load_authority(*to_pem(authority))
    assert loaded.certificate == authority.certificate
    assert loaded.key.private_numbers() == authority.key.private_numbers()


def test_an_authoritys_repr_does_not_show_its_key(authority: Authority) -> None:
    assert "PrivateKey" not in repr(authority)


def test_the_pin_is_the_sha256_of_the_public_key_info(authority: Authority) -> None:
    spki = authority.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert authority.pin == pin(authority.certificate) == hashlib.sha256(spki).hexdigest()


def test_a_serial_is_written_as_peers_serials_are(authority: Authority) -> None:
    assert int(authority.serial, 16) == authority.certificate.serial_number
    assert authority.serial == authority.serial.lower().lstrip("0")


def test_a_key_of_another_authority_is_refused(authority: Authority, stranger: Authority) -> None:
    with pytest.raises(InvalidInput, match="does not belong"):
        load_authority(to_pem(authority)[0], to_pem(stranger)[1])


def _altered(authority: Authority, now: datetime, **change: object) -> x509.Certificate:
    """A certificate like the authority's, but for one thing."""
    key = change.get("key", authority.key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(change.get("issuer", authority.certificate.subject))  # type: ignore[arg-type]
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in authority.certificate.extensions:
        value = change.get(type(extension.value).__name__, extension.value)
        if value is not None:
            builder = builder.add_extension(value, extension.critical)  # type: ignore[arg-type]
    return builder.sign(change.get("signer", key), hashes.SHA256())  # type: ignore[arg-type]


def test_an_unaltered_copy_is_an_authority(authority: Authority, now: datetime) -> None:
    check_authority(_altered(authority, now))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"BasicConstraints": None}, id="no basic constraints"),
        pytest.param({"BasicConstraints": x509.BasicConstraints(False, None)}, id="not a CA"),
        pytest.param({"BasicConstraints": x509.BasicConstraints(True, 1)}, id="may sign authorities"),
        pytest.param({"BasicConstraints": x509.BasicConstraints(True, None)}, id="any depth"),
        pytest.param({"KeyUsage": None}, id="no key usage"),
        pytest.param(
            {"KeyUsage": x509.KeyUsage(True, False, False, False, False, False, False, False, False)},
            id="may not sign",
        ),
        pytest.param({"SubjectAlternativeName": None}, id="no trust domain"),
        pytest.param(
            {"SubjectAlternativeName": x509.SubjectAlternativeName([x509.DNSName("a")])}, id="a DNS name instead"
        ),
        pytest.param(
            {
                "SubjectAlternativeName": x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(f"spiffe://{domain}") for domain in ("a", "b")]
                )
            },
            id="two trust domains",
        ),
        pytest.param({"signer": keys.new_key()}, id="signed by another key"),
        pytest.param({"key": ec.generate_private_key(ec.SECP384R1())}, id="P-384"),
        pytest.param({"issuer": x509.Name([])}, id="another issuer"),
    ],
)
def test_a_certificate_of_another_form_is_no_authority(
    authority: Authority, now: datetime, change: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        check_authority(_altered(authority, now, **change))


def test_leaves_are_no_authorities(authority: Authority, now: datetime) -> None:
    public = keys.new_key().public_key()
    identity = SpiffeId("prod.example.org", Kind.AGENT, "a")
    for leaf in (issue_child(authority, public, identity, now), issue_server(authority, public, [], now)):
        with pytest.raises(InvalidInput):
            check_authority(leaf)
    with pytest.raises(InvalidInput):
        trust_domain_of(issue_server(authority, public, [], now))


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_broken_certificate_file_says_so(pem: bytes, authority: Authority) -> None:
    with pytest.raises(InvalidInput) as broken:
        load_authority(pem, to_pem(authority)[1])
    assert broken.value.hint
