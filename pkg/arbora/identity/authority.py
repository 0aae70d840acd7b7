"""A hub's certificate authority: one self-signed P-256 certificate with its key.

Trust is per link: an authority signs the children and the servers of its own hub and nothing below
(path length 0), and a parent trusts only the certificate that it gave its child. The trust domain
stands in the certificate as the URI `spiffe://<trust domain>`, the common name is for people. This
module must not decide when to rotate (`rotation.py`), nor keep the PEM (the hub's store does).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import InvalidInput
from arbora.identity import keys
from arbora.identity.names import check_trust_domain

BACKDATE = timedelta(minutes=5)
"""How long before `now` every certificate begins, so that a peer's clock may be behind."""

AUTHORITY_LIFETIME = timedelta(days=3650)
"""Default lifetime of an authority."""

_MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name
_SCHEME = "spiffe://"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def serial(self) -> str:
        """Serial of the certificate, lower-case hex without leading zeros."""
        return f"{self.certificate.serial_number:x}"

    @property
    def pin(self) -> str:
        """What join tokens carry; see `pin`."""
        return pin(self.certificate)

    @property
    def trust_domain(self) -> str:
        """Of every SPIFFE id that this authority signs."""
        return trust_domain_of(self.certificate)


def make_authority(trust_domain: str, now: datetime, lifetime: timedelta = AUTHORITY_LIFETIME) -> Authority:
    """A new authority with a new key, valid from 5 min before `now` (aware, UTC) until `now + lifetime`.

    Raises InvalidInput if the trust domain is not a lower-case DNS name or the lifetime not positive.
    """
    check_trust_domain(trust_domain)
    if lifetime <= timedelta(0):
        raise InvalidInput("an authority's lifetime must be positive", field="lifetime")
    key = keys.new_key()
    public_key = key.public_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"arbora {trust_domain}"[:_MAX_COMMON_NAME])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(new_serial())
        .not_valid_before(whole_second(now) - BACKDATE)
        .not_valid_after(whole_second(now) + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_SCHEME + trust_domain)]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def to_pem(authority: Authority) -> tuple[bytes, bytes]:
    """The certificate and the unencrypted private key, both PEM."""
    return authority.certificate.public_bytes(Encoding.PEM), keys.to_pem(authority.key)


def load_authority(certificate_pem: bytes, key_pem: bytes) -> Authority:
    """Read what `to_pem` wrote. Raises InvalidInput if it is no authority or the two don't belong together."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except keys.UNREADABLE as error:
        raise InvalidInput(
            "the authority's certificate can't be read", field="certificate", hint="Restore it from its backup."
        ) from error
    check_authority(certificate)
    key = keys.from_pem(key_pem)
    if key.public_key() != certificate.public_key():
        raise InvalidInput(
            "the authority's key does not belong to its certificate",
            field="key",
            hint="Restore both from the same backup.",
        )
    return Authority(certificate, key)


def check_authority(certificate: x509.Certificate, field: str = "certificate") -> None:
    """Raise InvalidInput unless `certificate` is of the form that `make_authority` writes; dates aside."""
    try:
        keys.check_public_key(certificate.public_key(), field)
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.verify_directly_issued_by(certificate)
    except x509.ExtensionNotFound as error:
        raise InvalidInput("the certificate is not one of an authority", field=field) from error
    except InvalidSignature as error:
        raise InvalidInput("the authority's certificate is not signed by its own key", field=field) from error
    except keys.UNREADABLE as error:
        raise InvalidInput("the authority's certificate is malformed", field=field) from error
    if not constraints.ca or not usage.key_cert_sign:
        raise InvalidInput("the certificate may not sign others", field=field)
    if constraints.path_length != 0:
        raise InvalidInput("the authority may sign other authorities", field=field)
    trust_domain_of(certificate)


def trust_domain_of(certificate: x509.Certificate) -> str:
    """The trust domain that an authority's certificate names. Raises InvalidInput if it names none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *keys.UNREADABLE) as error:
        raise InvalidInput("the authority's certificate names no trust domain", field="certificate") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or not uris[0].startswith(_SCHEME):
        raise InvalidInput("the authority's certificate must name one trust domain", field="certificate")
    return check_trust_domain(uris[0].removeprefix(_SCHEME))


def pin(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's SubjectPublicKeyInfo, 64 lower-case hex digits (as in RFC 7469).

    Raises InvalidInput unless the key is on P-256.
    """
    try:
        public_key = certificate.public_key()
    except keys.UNREADABLE as error:
        raise InvalidInput("the certificate's public key can't be read", field="certificate") from error
    return keys.key_hash(keys.check_public_key(public_key, "certificate"))


def new_serial() -> int:
    """128 random bits, never 0: serials can't be guessed and need no counter on disk."""
    return 1 + secrets.randbelow(2**128 - 1)


def whole_second(moment: datetime) -> datetime:
    """X.509 knows no fractions; cut them off here, so that sums are exact."""
    return moment.replace(microsecond=0)


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
