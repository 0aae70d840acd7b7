"""The trust bundle: the CA certificates of one hub that its children trust, and the pinned first contact.

A bundle travels down in `Welcome`, `Certificate` and `settings`, and lies on a child's disk as PEM.
Reading is strict: one malformed block fails the whole (a skipped one would strand a child at the next
CA rotation). At the first contact there is no bundle yet: `authority_with_pin` finds the CA that the join
token pins in the chain the server presents. Fetching that chain is the caller's work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from arbora.errors import InvalidInput, PermissionDenied
from arbora.identity.authority import check_authority, pin
from arbora.identity.issue import load_leaf
from arbora.identity.keys import UNREADABLE
from arbora.identity.names import SERVER_NAME

MAX_CERTIFICATES = 8
"""In a bundle or a presented chain at most; a rotation needs two."""

_MAX_PEM = 64 * 1024
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----")
_WRONG_PIN = (
    "Check the address. If it is right, the hub changed its CA since the token was made (make a new join "
    "token), or something in between answers in its place (do not join)."
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """1 to 8 CA certificates, each once, in the order of their dates; two with the same ones are equal.

    Raises InvalidInput if there are none or too many, or if one is not of an authority.
    """

    certificates: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        unique = sorted(set(self.certificates), key=lambda c: (c.not_valid_before_utc, c.serial_number))
        if not unique:
            raise InvalidInput("the trust bundle is empty", field="trust_bundle")
        _check_count(len(unique))
        for i, certificate in enumerate(unique):
            check_authority(certificate, f"trust_bundle[{i}]")
        object.__setattr__(self, "certificates", tuple(unique))

    @classmethod
    def from_der(cls, blocks: Sequence[bytes]) -> Bundle:
        """Read a list of certificates in DER. Raises InvalidInput."""
        _check_count(len(blocks))
        return cls(tuple(_load(block, f"trust_bundle[{i}]") for i, block in enumerate(blocks)))

    @classmethod
    def from_pem(cls, text: bytes) -> Bundle:
        """Read PEM blocks with nothing but white space between them. Raises InvalidInput."""
        if len(text) > _MAX_PEM:
            raise InvalidInput(f"the trust bundle has more than {_MAX_PEM} bytes", field="trust_bundle")
        if _BLOCK.sub(b"", text).strip():
            raise InvalidInput(
                "the trust bundle holds something besides whole CERTIFICATE blocks",
                field="trust_bundle",
                hint="Fetch it again from the hub; nothing of it was used.",
            )
        blocks = [match.group() for match in _BLOCK.finditer(text)]
        _check_count(len(blocks))
        certificates = []
        for i, block in enumerate(blocks):
            try:
                certificates.append(x509.load_pem_x509_certificate(block))
            except UNREADABLE as error:
                raise InvalidInput("the certificate is malformed", field=f"trust_bundle[{i}]") from error
        return cls(tuple(certificates))

    def to_der(self) -> list[bytes]:
        """The certificates in DER, as they cross the wire."""
        return [certificate.public_bytes(Encoding.DER) for certificate in self.certificates]

    def to_pem(self) -> bytes:
        """The certificates as PEM, one after the other, as TLS libraries take them."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)

    def __iter__(self) -> Iterator[x509.Certificate]:
        return iter(self.certificates)


def authority_with_pin(chain_der: Sequence[bytes], wanted_pin: str, now: datetime) -> bytes:
    """The CA, as PEM, of a hub that is contacted for the first time; its server presents `chain_der`, leaf first.

    The chain must hold a CA whose public key has the pin (`authority.pin`), and the leaf must verify under
    that CA at `now`: signature, dates, server authentication, SERVER_NAME. Raises InvalidInput if the chain
    is malformed, PermissionDenied if it is not the pinned hub's.
    """
    if not chain_der:
        raise InvalidInput("the server presents no certificate", field="chain")
    _check_count(len(chain_der))
    leaf, *rest = (_load(block, f"chain[{i}]") for i, block in enumerate(chain_der))
    ca = _with_pin(rest, wanted_pin)
    check_authority(ca, "chain")
    for certificate, what in ((leaf, "server certificate"), (ca, "CA")):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise PermissionDenied(
                f"the hub's {what} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, which is not now ({now:%Y-%m-%d %H:%M})",
                hint="Check this machine's clock, then the hub's.",
            )
    _verify_server(leaf, ca, now)
    return ca.public_bytes(Encoding.PEM)


def _with_pin(certificates: Iterable[x509.Certificate], wanted_pin: str) -> x509.Certificate:
    for certificate in certificates:
        try:
            found = pin(certificate)
        except InvalidInput:
            continue  # not a P-256 key, so not one of ours: it can't have the pin
        if found == wanted_pin:
            return certificate
    raise PermissionDenied("the hub at this address is not the one the join token is for", hint=_WRONG_PIN)


def _verify_server(leaf: x509.Certificate, ca: x509.Certificate, now: datetime) -> None:
    verifier = (
        x509.verification.PolicyBuilder()
        .store(x509.verification.Store([ca]))
        .time(now)
        .max_chain_depth(0)
        .build_server_verifier(x509.DNSName(SERVER_NAME))
    )
    try:
        verifier.verify(leaf, [])
        # the verifier takes a certificate without purposes for one with all of them; we don't
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.verification.VerificationError, x509.ExtensionNotFound, *UNREADABLE) as error:
        raise PermissionDenied(
            "the server's certificate does not verify under the CA that the join token pins", hint=_WRONG_PIN
        ) from error
    if ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
        raise PermissionDenied("the server's certificate is not for a server", hint=_WRONG_PIN)


def _load(block: bytes, field: str) -> x509.Certificate:
    try:
        return load_leaf(block)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field, hint=error.hint) from error


def _check_count(count: int) -> None:
    if count > MAX_CERTIFICATES:
        raise InvalidInput(f"{count} certificates, at most {MAX_CERTIFICATES} are read", field="trust_bundle")
