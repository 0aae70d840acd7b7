"""Leaf certificates: what a hub signs for its children and its own ports, and what it reads back.

The hub writes the whole identity: exactly one SPIFFE URI, an empty subject, one purpose. From a
request only the public key is taken. Renewal is the same call with the identity that the TLS peer
proved. Nothing here keeps a serial or knows who is banned; the hub's enrollment does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from arbora.errors import Conflict, InvalidInput
from arbora.identity.authority import BACKDATE, Authority, new_serial, whole_second
from arbora.identity.keys import UNREADABLE, check_public_key
from arbora.identity.names import SERVER_NAME, SpiffeId, check_trust_domain

LEAF_LIFETIME = timedelta(hours=24)
"""Default lifetime of a leaf."""

MAX_LEAF = 8 * 1024
"""Bytes of a leaf in DER at most; ours have about 500."""

_MAX_NAMES = 64
_DNS = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


def issue_child(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    spiffe_id: SpiffeId,
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> x509.Certificate:
    """A client certificate for the child `spiffe_id`, valid from 5 min before `now` until `now + lifetime`.

    It never outlives its authority. Raises InvalidInput for a malformed or foreign identity, another
    key type or the authority's own key; Conflict if the authority itself has ended.
    """
    if SpiffeId.parse(str(spiffe_id)) != spiffe_id or spiffe_id.trust_domain != authority.trust_domain:
        raise InvalidInput(
            f"{spiffe_id} is not an identity of the trust domain {authority.trust_domain}", field="spiffe_id"
        )
    uri = x509.UniformResourceIdentifier(str(spiffe_id))
    return _issue(authority, public_key, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime)


def issue_server(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    names: Iterable[str],
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> x509.Certificate:
    """A server certificate for SERVER_NAME and the DNS names and IP addresses `names`.

    Raises InvalidInput for a name that is neither (a wildcard is neither) and for a wrong key;
    Conflict if the authority itself has ended.
    """
    wanted = list(dict.fromkeys([SERVER_NAME, *names]))
    if len(wanted) > _MAX_NAMES:
        raise InvalidInput(f"a server certificate has at most {_MAX_NAMES} names", field="names")
    general = [_server_name(name, f"names[{i}]") for i, name in enumerate(wanted, start=-1)]
    return _issue(authority, public_key, general, ExtendedKeyUsageOID.SERVER_AUTH, now, lifetime)


def load_leaf(leaf_der: bytes) -> x509.Certificate:
    """Read a certificate that a peer sent. Raises InvalidInput if it is too long or malformed."""
    if len(leaf_der) > MAX_LEAF:
        raise InvalidInput(f"the certificate has {len(leaf_der)} bytes, at most {MAX_LEAF} are read")
    try:
        leaf = x509.load_der_x509_certificate(leaf_der)
        _ = leaf.extensions  # parsed lazily: a malformed one must fail here, not in a later reader
    except UNREADABLE as error:
        raise InvalidInput("the certificate is malformed", field="certificate", hint="Send it in DER.") from error
    if leaf.serial_number <= 0:  # the library only warns of it (RFC 5280, 4.1.2.2)
        raise InvalidInput("the certificate's serial is not positive", field="certificate")
    return leaf


def peer_identity(leaf: x509.Certificate | bytes) -> SpiffeId:
    """Who a child's certificate (or its DER) says it is; the caller has verified who signed it.

    Raises InvalidInput unless it carries exactly one URI and that is a SPIFFE id of a child.
    """
    certificate = load_leaf(leaf) if isinstance(leaf, bytes) else leaf
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE) as error:
        raise InvalidInput("the certificate names nobody", field="certificate") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise InvalidInput(f"the certificate carries {len(uris)} URIs instead of one", field="certificate")
    identity = SpiffeId.parse(uris[0])
    check_trust_domain(identity.trust_domain)
    return identity


class Flaw(Enum):
    """Why a child's certificate is no good."""

    WRONG_USAGE = "wrong-usage"
    UNKNOWN_AUTHORITY = "unknown-authority"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The flaw as a word for the program and a sentence that says what to do."""

    flaw: Flaw
    sentence: str


def explain(
    certificate: x509.Certificate, bundle: Iterable[x509.Certificate], now: datetime
) -> Explanation | None:
    """Why a hub that trusts `bundle` refuses `certificate` at `now`; None if nothing is wrong with it.

    TLS can't tell its peer, so the join port does. Whoever holds no certificate of this hub learns
    nothing but that.
    """
    issuer = next((ca for ca in bundle if _signed(ca, certificate)), None)
    if issuer is None:
        return Explanation(
            Flaw.UNKNOWN_AUTHORITY,
            "The certificate is not signed by a CA of this hub: check the address, or join again with a new "
            "join token.",
        )
    if not _is_child(certificate):
        return Explanation(
            Flaw.WRONG_USAGE,
            "The certificate is not one of a child (client authentication, one SPIFFE URI): use the one that "
            "enrollment gave.",
        )
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return Explanation(
            Flaw.NOT_YET_VALID,
            f"The certificate is valid from {begins:%Y-%m-%d %H:%M:%S} UTC on: set the clocks.",
        )
    if now > min(ends, issuer.not_valid_after_utc):
        return Explanation(
            Flaw.EXPIRED,
            f"The certificate ended at {ends:%Y-%m-%d %H:%M:%S} UTC: join again with a new join token.",
        )
    return None


def _issue(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    names: list[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    now: datetime,
    lifetime: timedelta,
) -> x509.Certificate:
    check_public_key(public_key, "public_key")
    if public_key == authority.key.public_key():
        raise InvalidInput("the key is the authority's own", field="public_key", hint="Make a new key.")
    if lifetime <= timedelta(0):
        raise InvalidInput("a certificate's lifetime must be positive", field="lifetime")
    ca = authority.certificate
    if not ca.not_valid_before_utc <= now < ca.not_valid_after_utc:
        raise Conflict(
            f"the hub's CA {authority.serial} is not valid now",
            hint="Set the hub's clock; if the CA has ended, rotate it: prepare, then activate.",
        )
    start = whole_second(now)
    key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(new_serial())
        .not_valid_before(start - BACKDATE)
        .not_valid_after(min(start + lifetime, ca.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)  # critical: the subject is empty
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNS_HANDSHAKES, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _server_name(name: str, field: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if not _DNS.fullmatch(name):
            raise InvalidInput(
                f"{name!r} is neither a lower-case DNS name nor an IP address",
                field=field,
                hint="Give names without a port, such as hub.example.org or 192.0.2.7.",
            ) from None
        return x509.DNSName(name)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise InvalidInput(f"{name!r} has a zone; a certificate can't name one", field=field)
    return x509.IPAddress(address)


def _signed(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, *UNREADABLE):
        return False  # another issuer's name, another kind of key, another signature: not this CA
    return True


def _is_child(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        peer_identity(certificate)
    except (x509.ExtensionNotFound, InvalidInput, *UNREADABLE):
        return False  # the answer is the same for every way of not being one
    return not constraints.ca and list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]


_SIGNS_HANDSHAKES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
