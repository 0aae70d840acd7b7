"""A bundle is read whole or not at all; a first contact succeeds only with the pinned CA."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.errors import InvalidInput, PermissionDenied
from arbora.identity import keys
from arbora.identity.authority import Authority, make_authority
from arbora.identity.bundle import Bundle, authority_with_pin
from arbora.identity.issue import explain, issue_child, issue_server, load_leaf, peer_identity
from arbora.identity.names import SERVER_NAME, Kind, SpiffeId

PUBLIC = keys.new_key().public_key()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def test_a_bundle_survives_writing_and_reading(authority: Authority, stranger: Authority) -> None:
    bundle = Bundle((authority.certificate, stranger.certificate))
    assert Bundle.from_pem(bundle.to_pem()) == Bundle.from_der(bundle.to_der()) == bundle
    assert set(bundle) == {authority.certificate, stranger.certificate}


def test_order_and_repetition_make_no_other_bundle(authority: Authority, stranger: Authority) -> None:
    a, b = authority.certificate, stranger.certificate
    assert Bundle((a, b)) == Bundle((b, a)) == Bundle((a, b, a))
    assert Bundle((a, b)) != Bundle((a,))


def test_white_space_between_blocks_is_allowed(authority: Authority, stranger: Authority) -> None:
    text = b"\n" + _pem(authority.certificate).replace(b"\n", b"\r\n") + b" \n\n" + _pem(stranger.certificate)
    assert len(Bundle.from_pem(text).certificates) == 2


def _broken_pems(good: bytes) -> list[object]:
    return [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n \n", id="white space"),
        pytest.param(good + b"# our CA\n", id="comment"),
        pytest.param(good + good[:200], id="second block cut off"),
        pytest.param(good + good.replace(b"-----END CERTIFICATE-----", b""), id="second block without end"),
        pytest.param(good + good.replace(b"CERTIFICATE", b"PRIVATE KEY"), id="another kind of block"),
        pytest.param(good + good.replace(b"MII", b"???"), id="not base64"),
        pytest.param(good + good.replace(b"MII", b"MIJ"), id="not a certificate"),
        pytest.param(good + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", id="zeros"),
        pytest.param(good * 9, id="nine blocks"),
        pytest.param(good + b"\n" * 70_000, id="over-long"),
    ]


_SAMPLE = _pem(make_authority("a", datetime.fromisoformat("2026-01-01T00:00:00+00:00")).certificate)


@pytest.mark.parametrize("text", _broken_pems(_SAMPLE))
def test_one_malformed_block_fails_the_whole(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        Bundle.from_pem(text)


def test_a_malformed_der_block_is_named(authority: Authority) -> None:
    with pytest.raises(InvalidInput) as broken:
        Bundle.from_der([_der(authority.certificate), b"x"])
    assert broken.value.field == "trust_bundle[1]"


@pytest.mark.parametrize("count", [0, 9])
def test_none_and_nine_are_not_a_bundle(authority: Authority, count: int) -> None:
    with pytest.raises(InvalidInput):
        Bundle.from_der([_der(authority.certificate)] * count)


def test_a_leaf_in_a_bundle_is_refused(authority: Authority, now: datetime) -> None:
    leaf = issue_child(authority, PUBLIC, SpiffeId("prod.example.org", Kind.AGENT, "a"), now)
    with pytest.raises(InvalidInput):
        Bundle((authority.certificate, leaf))


# the first contact


def test_the_pinned_ca_is_found_behind_the_servers_leaf(
    authority: Authority, stranger: Authority, now: datetime
) -> None:
    leaf = issue_server(authority, PUBLIC, ["hub.example.org"], now)
    chain = [_der(leaf), _der(stranger.certificate), _der(authority.certificate)]
    assert authority_with_pin(chain, authority.pin, now) == _pem(authority.certificate)


def test_a_wrong_pin_says_what_to_do(authority: Authority, stranger: Authority, now: datetime) -> None:
    chain = [_der(issue_server(stranger, PUBLIC, [], now)), _der(stranger.certificate)]
    with pytest.raises(PermissionDenied, match="not the one the join token is for") as refused:
        authority_with_pin(chain, authority.pin, now)
    assert "new join token" in refused.value.hint


def test_showing_the_pinned_ca_without_its_key_does_not_help(
    authority: Authority, stranger: Authority, now: datetime
) -> None:
    """What an interceptor can do: it knows the real CA's certificate, and signs with its own key."""
    chain = [_der(issue_server(stranger, PUBLIC, [], now)), _der(authority.certificate)]
    with pytest.raises(PermissionDenied, match="does not verify"):
        authority_with_pin(chain, authority.pin, now)


def _certificate(
    signer: Authority,
    now: datetime,
    public: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
    return builder.sign(signer.key, hashes.SHA256())


def test_a_ca_with_the_pinned_key_that_another_signed_is_refused(
    authority: Authority, stranger: Authority, now: datetime
) -> None:
    own = [extension.value for extension in authority.certificate.extensions]
    public = authority.key.public_key()
    ca = _certificate(stranger, now, public, authority.certificate.subject, *own)
    with pytest.raises(InvalidInput, match="own key"):
        authority_with_pin([_der(issue_server(authority, PUBLIC, [], now)), _der(ca)], authority.pin, now)


_NAME = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])
_SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@pytest.mark.parametrize(
    ("extensions", "good"),
    [
        pytest.param((_NAME, _SERVER), True, id="as it should be"),
        pytest.param((_NAME,), False, id="no purpose"),
        pytest.param((_NAME, _CLIENT), False, id="a client's"),
        pytest.param(
            (x509.SubjectAlternativeName([x509.DNSName("hub.example.org")]), _SERVER), False, id="another name"
        ),
        pytest.param(
            (x509.SubjectAlternativeName([x509.DNSName(f"{SERVER_NAME}.evil.org")]), _SERVER),
            False,
            id="our name as a prefix",
        ),
        pytest.param((_SERVER,), False, id="no name"),
    ],
)
def test_the_leaf_must_be_a_servers_with_our_name(
    authority: Authority, now: datetime, extensions: tuple[x509.ExtensionType, ...], good: bool
) -> None:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SERVER_NAME)])
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    leaf = _certificate(authority, now, PUBLIC, subject, key_id, *extensions)
    chain = [_der(leaf), _der(authority.certificate)]
    if good:
        assert authority_with_pin(chain, authority.pin, now)
    else:
        with pytest.raises(PermissionDenied):
            authority_with_pin(chain, authority.pin, now)


def test_a_childs_certificate_does_not_make_a_hub(authority: Authority, now: datetime) -> None:
    child = issue_child(authority, PUBLIC, SpiffeId("prod.example.org", Kind.HUB, "eu"), now)
    with pytest.raises(PermissionDenied):
        authority_with_pin([_der(child), _der(authority.certificate)], authority.pin, now)


@pytest.mark.parametrize("off", [timedelta(days=2), timedelta(minutes=-6), timedelta(days=4000)])
def test_dates_that_do_not_fit_point_at_the_clocks(authority: Authority, now: datetime, off: timedelta) -> None:
    chain = [_der(issue_server(authority, PUBLIC, [], now)), _der(authority.certificate)]
    with pytest.raises(PermissionDenied, match="which is not now") as refused:
        authority_with_pin(chain, authority.pin, now + off)
    assert "clock" in refused.value.hint


def test_a_leaf_is_not_taken_for_its_own_ca(authority: Authority, now: datetime) -> None:
    with pytest.raises(PermissionDenied):
        authority_with_pin([_der(authority.certificate)], authority.pin, now)


@pytest.mark.parametrize("chain", [[], [b"x"], [b""] * 9])
def test_a_malformed_chain_is_an_error(authority: Authority, now: datetime, chain: list[bytes]) -> None:
    with pytest.raises(InvalidInput):
        authority_with_pin(chain, authority.pin, now)


# hostile bytes


_HUB = make_authority("a", datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
_MOMENT = datetime.fromisoformat("2026-01-01T01:00:00+00:00")
_LEAF = issue_server(_HUB, PUBLIC, [], _MOMENT)
_CHILD = issue_child(_HUB, PUBLIC, SpiffeId("a", Kind.AGENT, "a"), _MOMENT)


def _flipped(der: bytes, position: int, flip: int) -> bytes:
    changed = bytearray(der)
    changed[position % len(der)] ^= flip
    return bytes(changed)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_never_crashes_and_never_passes(position: int, flip: int) -> None:
    ca, leaf, child = (_flipped(_der(c), position, flip) for c in (_HUB.certificate, _LEAF, _CHILD))
    with suppress(InvalidInput, PermissionDenied):
        authority_with_pin([leaf, _der(_HUB.certificate)], _HUB.pin, _MOMENT)
        # as below: what is not signed may change, and changes nothing
        assert load_leaf(leaf).tbs_certificate_bytes == _LEAF.tbs_certificate_bytes
    with suppress(InvalidInput, PermissionDenied):
        authority_with_pin([_der(_LEAF), ca], _HUB.pin, _MOMENT)
        assert load_leaf(ca).tbs_certificate_bytes == _HUB.certificate.tbs_certificate_bytes
    with suppress(InvalidInput):
        Bundle.from_der([ca])
        assert load_leaf(ca).tbs_certificate_bytes == _HUB.certificate.tbs_certificate_bytes
    with suppress(InvalidInput):
        read = load_leaf(child)
        # what is not signed (the algorithm's second copy) may change, and changes nothing
        signed_is_whole = read.tbs_certificate_bytes == _CHILD.tbs_certificate_bytes
        assert explain(read, [_HUB.certificate], _MOMENT) is not None or signed_is_whole
    with suppress(InvalidInput):
        peer_identity(child)
