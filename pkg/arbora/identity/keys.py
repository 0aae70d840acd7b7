"""P-256 keys: make, write, read, hash. The one key type of every certificate in a tree.

A child makes its key here and never sends it anywhere; a hub makes its CA's key here. The module
must not touch a disk: the caller writes the PEM where only it can read it. Flow: `new_key` ->
`csr.build` -> (wire) -> `csr.verify` -> `issue.issue_child`.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning

from arbora.errors import InvalidInput

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)
"""All that `cryptography` raises for bytes that it can't read; the warning where warnings are errors."""

_MAX_PEM = 8 * 1024


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as unencrypted PKCS#8 PEM. The caller keeps it from other eyes."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read what `to_pem` wrote. Raises InvalidInput on anything but one unencrypted P-256 key."""
    if len(pem) > _MAX_PEM:
        raise InvalidInput(f"the private key is longer than {_MAX_PEM} bytes", field="key")
    try:
        key = load_pem_private_key(pem, password=None)
    except UNREADABLE as error:
        raise InvalidInput(
            "the private key can't be read",
            field="key",
            hint="It must be one unencrypted PEM block of a P-256 key; restore the file from its backup.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("the private key is not a P-256 key", field="key")
    return key


def check_public_key(public_key: object, field: str) -> ec.EllipticCurvePublicKey:
    """Return `public_key` if it is on P-256, else raise InvalidInput naming `field`."""
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise InvalidInput("the public key is not an elliptic curve key", field=field, hint="Use a P-256 key.")
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise InvalidInput(f"the public key is on {public_key.curve.name}", field=field, hint="Use a P-256 key.")
    return public_key


def key_hash(public_key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7), as 64 lower-case hex digits."""
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()
