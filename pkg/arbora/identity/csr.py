"""Certificate requests: a child builds one, its hub takes the public key out of it and nothing else.

The subject and the requested extensions are never read: who the child is comes from the join token
or from the TLS peer, and the hub writes it (`issue.py`). What the request proves is only that the
sender holds the private key.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import InvalidInput
from arbora.identity.keys import UNREADABLE, check_public_key, key_hash

__all__ = ["MAX_CSR", "build", "key_hash", "verify"]

MAX_CSR = 8 * 1024
"""Bytes of a request at most; one for P-256 has about 200."""


def build(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#10 in DER with an empty subject, signed by `key`."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def verify(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 public key whose holder signed the request.

    Raises InvalidInput if the request is too long, malformed, for another kind of key, or not signed
    by the key it names.
    """
    if len(csr_der) > MAX_CSR:
        raise InvalidInput(f"the request has {len(csr_der)} bytes, at most {MAX_CSR} are read", field="csr")
    try:
        request = x509.load_der_x509_csr(csr_der)
        public_key = check_public_key(request.public_key(), "csr")
        genuine = request.is_signature_valid
    except UNREADABLE as error:
        raise InvalidInput(
            "the request is malformed", field="csr", hint="Send PKCS#10 in DER for a P-256 key."
        ) from error
    if not genuine:
        raise InvalidInput(
            "the request is not signed by its own key", field="csr", hint="Sign it with the key it names."
        )
    return public_key
