"""What a hub signs is exactly one identity for one purpose, and what it reads back is exactly that."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from arbora.errors import Conflict, InvalidInput
from arbora.identity import csr, keys
from arbora.identity.authority import Authority, make_authority
from arbora.identity.issue import Flaw, explain, issue_child, issue_server, load_leaf, peer_identity
from arbora.identity.names import SERVER_NAME, Kind, SpiffeId

EDGE = SpiffeId("prod.example.org", Kind.AGENT, "edge-7")
KEY = keys.new_key()
PUBLIC = KEY.public_key()
DAY = timedelta(days=1)
ClientAuth, ServerAuth = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def _verify_server(leaf: x509.Certificate, ca: Authority, at: datetime, name: x509.verification.Subject) -> None:
    store = Store([ca.certificate])
    PolicyBuilder().store(store).time(at).build_server_verifier(name).verify(leaf, [])


def test_a_childs_certificate_is_one_identity_for_one_purpose(authority: Authority, now: datetime) -> None:
    leaf = issue_child(authority, PUBLIC, EDGE, now)
    extensions = leaf.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://prod.example.org/agent/edge-7")]
    assert list(leaf.subject) == []
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ClientAuth]
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not any((usage.key_cert_sign, usage.crl_sign, usage.key_encipherment, usage.key_agreement))
    issuer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert (
        extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == issuer_key.digest
    )
    assert leaf.public_key() == PUBLIC


def test_a_childs_certificate_verifies_under_its_authority(authority: Authority, now: datetime) -> None:
    # the verifier's defaults are for web servers; ours has no DNS name and a critical URI
    anything = ExtensionPolicy.permit_all()
    builder = PolicyBuilder().store(Store([authority.certificate])).time(now)
    verifier = builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=anything)
    verified = verifier.build_client_verifier().verify(issue_child(authority, PUBLIC, EDGE, now), [])
    assert verified.chain[-1] == authority.certificate


def test_a_certificate_begins_five_minutes_ago_and_lasts_as_asked(authority: Authority, now: datetime) -> None:
    leaf = issue_child(authority, PUBLIC, EDGE, now + timedelta(microseconds=700_000), timedelta(hours=2))
    assert leaf.not_valid_before_utc == now - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == now + timedelta(hours=2)


@pytest.mark.parametrize("before_the_end", [timedelta(hours=23), timedelta(seconds=1)])
def test_a_certificate_never_outlives_its_authority(
    authority: Authority, now: datetime, before_the_end: timedelta
) -> None:
    end = authority.certificate.not_valid_after_utc
    assert issue_child(authority, PUBLIC, EDGE, end - before_the_end, DAY).not_valid_after_utc == end


@pytest.mark.parametrize("off", [timedelta(days=3650), timedelta(days=9000), timedelta(minutes=-6)])
def test_an_authority_that_is_not_valid_signs_nothing(
    authority: Authority, now: datetime, off: timedelta
) -> None:
    with pytest.raises(Conflict, match="not valid now"):
        issue_child(authority, PUBLIC, EDGE, now + off)


def test_serials_are_random_and_have_128_bits_at_most(authority: Authority, now: datetime) -> None:
    serials = {issue_child(authority, PUBLIC, EDGE, now).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert 2**120 < max(serials) <= 2**128
    assert min(serials) > 0


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(SpiffeId("other.example.org", Kind.AGENT, "edge-7"), id="foreign trust domain"),
        pytest.param(SpiffeId("prod.example.org.evil", Kind.AGENT, "edge-7"), id="trust domain as a prefix"),
        pytest.param(SpiffeId("prod.example", Kind.AGENT, "edge-7"), id="prefix of the trust domain"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, ""), id="no name"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "Edge-7"), id="upper case"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "edge-7\n"), id="line end"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "edgé"), id="unicode"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "еdge-7"), id="a Cyrillic letter that looks Latin"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, ".."), id="dots"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "../hub/victim"), id="dots and slashes"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "a%2fb"), id="encoded slash"),
        pytest.param(SpiffeId("prod.example.org", Kind.AGENT, "a" * 64), id="over-long"),
    ],
)
def test_an_identity_that_is_not_this_hubs_to_give_is_refused(
    authority: Authority, now: datetime, identity: SpiffeId
) -> None:
    with pytest.raises(InvalidInput):
        issue_child(authority, PUBLIC, identity, now)


def test_the_authoritys_own_key_gets_no_certificate(authority: Authority, now: datetime) -> None:
    public = csr.verify(csr.build(authority.key))
    with pytest.raises(InvalidInput, match="the authority's own"):
        issue_child(authority, public, EDGE, now)


def test_a_key_of_another_kind_gets_no_certificate(authority: Authority, now: datetime) -> None:
    with pytest.raises(InvalidInput, match="secp384r1"):
        issue_child(authority, ec.generate_private_key(ec.SECP384R1()).public_key(), EDGE, now)


def test_a_lifetime_must_be_positive(authority: Authority, now: datetime) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        issue_child(authority, PUBLIC, EDGE, now, timedelta(seconds=-1))


@pytest.mark.parametrize(
    "name", [SERVER_NAME, "hub.example.org", "localhost", "192.0.2.7", "2001:db8::7", "a.b-c.d1"]
)
def test_a_server_is_known_by_each_of_its_names(authority: Authority, now: datetime, name: str) -> None:
    leaf = issue_server(authority, PUBLIC, [name], now, DAY)
    if ":" in name or name[0].isdigit():
        _verify_server(leaf, authority, now, x509.IPAddress(ipaddress.ip_address(name)))
    else:
        _verify_server(leaf, authority, now, x509.DNSName(name))
    _verify_server(leaf, authority, now, x509.DNSName(SERVER_NAME))
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ServerAuth]
    assert list(leaf.subject) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*.example.org",
        "Hub",
        "a..b",
        "hub:8443",
        "[::1]",
        "fe80::1%eth0",
        "a b",
        "хаб",
        "a_b",
        "a\n",
        "a" * 254,
    ],
)
def test_a_server_name_that_is_neither_dns_nor_ip_is_refused(
    authority: Authority, now: datetime, name: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        issue_server(authority, PUBLIC, ["good.example.org", name], now)
    assert refused.value.field == "names[1]"


def test_a_server_with_too_many_names_is_refused(authority: Authority, now: datetime) -> None:
    with pytest.raises(InvalidInput):
        issue_server(authority, PUBLIC, [f"h{i}" for i in range(64)], now)


def test_a_server_certificate_fails_under_another_authority_and_after_its_end(
    authority: Authority, stranger: Authority, now: datetime
) -> None:
    leaf = issue_server(authority, PUBLIC, [], now, DAY)
    for ca, at in ((stranger, now), (authority, now + 2 * DAY), (authority, now - DAY)):
        with pytest.raises(VerificationError):
            _verify_server(leaf, ca, at, x509.DNSName(SERVER_NAME))


def test_a_child_can_not_pose_as_a_server(authority: Authority, now: datetime) -> None:
    with pytest.raises(VerificationError):
        _verify_server(issue_child(authority, PUBLIC, EDGE, now), authority, now, x509.DNSName(SERVER_NAME))


def _forged(
    signer: Authority,
    now: datetime,
    names: Sequence[x509.GeneralName] | None,
    purposes: Sequence[x509.ObjectIdentifier] = (ClientAuth,),
    ca: bool = False,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "victim")]))
        .issuer_name(signer.certificate.subject)
        .public_key(PUBLIC)
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.ExtendedKeyUsage(purposes), False)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(signer.key, hashes.SHA256())


def _uris(*uris: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(uri) for uri in uris]


def test_an_identity_is_read_from_a_certificate_and_from_its_der(authority: Authority, now: datetime) -> None:
    leaf = issue_child(authority, PUBLIC, EDGE, now)
    assert peer_identity(leaf) == peer_identity(leaf.public_bytes(Encoding.DER)) == EDGE


def test_names_of_which_one_begins_with_the_other_are_two_identities(authority: Authority, now: datetime) -> None:
    longer = SpiffeId("prod.example.org", Kind.AGENT, "edge-77")
    assert peer_identity(issue_child(authority, PUBLIC, longer, now)) == longer != EDGE


_GOOD = "spiffe://prod.example.org/agent/a"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(None, id="no names"),
        pytest.param([x509.DNSName("a")], id="a DNS name only"),
        pytest.param(_uris(_GOOD, "spiffe://prod.example.org/agent/b"), id="two URIs"),
        pytest.param(_uris(_GOOD, _GOOD), id="the same URI twice"),
        pytest.param(_uris("https://prod.example.org/agent/a"), id="another scheme"),
        pytest.param(_uris("SPIFFE://prod.example.org/agent/a"), id="scheme in upper case"),
        pytest.param(_uris("spiffe://PROD.example.org/agent/a"), id="domain in upper case"),
        pytest.param(_uris("spiffe://prod..org/agent/a"), id="empty label in the domain"),
        pytest.param(_uris("spiffe://prod.example.org:1/agent/a"), id="port"),
        pytest.param(_uris("spiffe://u@prod.example.org/agent/a"), id="user"),
        pytest.param(_uris("spiffe://prod.example.org/agent/A"), id="name in upper case"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a/"), id="slash at the end"),
        pytest.param(_uris("spiffe://prod.example.org/agent//a"), id="two slashes"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a/b"), id="one segment more"),
        pytest.param(_uris("spiffe://prod.example.org/agent"), id="one segment less"),
        pytest.param(_uris("spiffe://prod.example.org/agent/.."), id="dots"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a%2fb"), id="encoded slash"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a%00"), id="encoded zero"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a\0b"), id="zero"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a?b"), id="query"),
        pytest.param(_uris("spiffe://prod.example.org/agent/a#b"), id="fragment"),
        pytest.param(_uris("spiffe://prod.example.org/admin/a"), id="unknown kind"),
        pytest.param(_uris("spiffe://prod.example.org/agent/" + "a" * 64), id="over-long"),
    ],
)
def test_a_certificate_without_exactly_one_spiffe_id_is_nobody(
    authority: Authority, now: datetime, names: Sequence[x509.GeneralName] | None
) -> None:
    with pytest.raises(InvalidInput):
        peer_identity(_forged(authority, now, names))


@pytest.mark.parametrize("der", [b"", b"x", b"\x30\x03\x02\x01\x01", b"\0" * 9000])
def test_a_malformed_certificate_is_an_error(der: bytes) -> None:
    with pytest.raises(InvalidInput):
        load_leaf(der)


def test_a_good_certificate_has_no_flaw(authority: Authority, stranger: Authority, now: datetime) -> None:
    bundle = [stranger.certificate, authority.certificate]
    leaf = issue_child(authority, PUBLIC, EDGE, now)
    for at in (leaf.not_valid_before_utc, now, leaf.not_valid_after_utc):
        assert explain(leaf, bundle, at) is None


def test_each_flaw_is_told_apart_and_says_what_to_do(
    authority: Authority, stranger: Authority, now: datetime
) -> None:
    leaf = issue_child(authority, PUBLIC, EDGE, now)
    server = issue_server(authority, PUBLIC, [], now)
    nobody = _forged(authority, now, None)
    both = _forged(authority, now, _uris(_GOOD), (ClientAuth, ServerAuth))
    sub_ca = _forged(authority, now, _uris(_GOOD), ca=True)
    good = [authority.certificate]
    rows = [
        (leaf, [stranger.certificate], now, Flaw.UNKNOWN_AUTHORITY, "join again"),
        (leaf, [], now, Flaw.UNKNOWN_AUTHORITY, "join again"),
        (server, good, now, Flaw.WRONG_USAGE, "enrollment"),
        (nobody, good, now, Flaw.WRONG_USAGE, "enrollment"),
        (both, good, now, Flaw.WRONG_USAGE, "enrollment"),
        (sub_ca, good, now, Flaw.WRONG_USAGE, "enrollment"),
        (leaf, good, now - timedelta(minutes=6), Flaw.NOT_YET_VALID, "clocks"),
        (leaf, good, now + 2 * DAY, Flaw.EXPIRED, "new join token"),
    ]
    for certificate, bundle, at, flaw, advice in rows:
        found = explain(certificate, bundle, at)
        assert found is not None
        assert found.flaw is flaw
        assert advice in found.sentence


def test_a_certificate_ends_with_its_authority(now: datetime) -> None:
    short = make_authority("prod.example.org", now, timedelta(hours=1))
    leaf = _forged(short, now, _uris(_GOOD))
    found = explain(leaf, [short.certificate], now + timedelta(hours=2))
    assert found is not None
    assert found.flaw is Flaw.EXPIRED


def test_a_stranger_learns_nothing_but_that_it_is_one(
    authority: Authority, stranger: Authority, now: datetime
) -> None:
    odd = _forged(stranger, now - 9 * DAY, None, ca=True)
    found = explain(odd, [authority.certificate], now)
    assert found is not None
    assert found.flaw is Flaw.UNKNOWN_AUTHORITY
