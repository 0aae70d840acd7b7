"""End-to-end secrecy: a member's token is sealed to the requester, and hubs only carry it.

HPKE (RFC 9180), base mode: X25519, HKDF-SHA256, AES-256-GCM, one message a key setup. The requester
makes a recipient and sends its public key with the request; the agent seals; the requester opens. The
context (which request, which member) goes into the key schedule, so an answer can't be passed off as
one to another question. It doesn't say who sealed: that is what the sessions on the way prove.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from arbora.errors import InvalidInput, PermissionDenied
from arbora.identity.names import Path

MAX_PLAINTEXT = 64 * 1024
"""Bytes that one seal holds at most; a token has about 1,000."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_VERSION = b"\x01"  # stands before the ciphertext, so that another suite can follow one day
_OVERHEAD = len(_VERSION) + 32 + 16  # version, the sender's ephemeral key, the tag
_INFO = b"arbora/seal/1\0"


def new_recipient() -> tuple[X25519PrivateKey, bytes]:
    """A key pair for one request: the private key to keep, the public key (32 bytes) to send."""
    private = X25519PrivateKey.generate()
    return private, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def token_context(request_id: str, path: Path) -> bytes:
    """What binds a sealed token to its request and to the member (its path from the root) that answers."""
    parts = (b"token", request_id.encode(), str(path).encode())
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def seal(public_raw: bytes, plaintext: bytes, *, context: bytes) -> bytes:
    """Encrypt for the holder of the private key to `public_raw` (32 bytes, X25519).

    The result is 49 bytes longer than the plaintext. Raises InvalidInput for a bad key or a long text.
    """
    if len(plaintext) > MAX_PLAINTEXT:
        raise InvalidInput(f"{len(plaintext)} bytes are too many to seal, at most {MAX_PLAINTEXT}")
    try:
        public = X25519PublicKey.from_public_bytes(public_raw)
        return _VERSION + _SUITE.encrypt(plaintext, public, info=_INFO + context)
    except ValueError as error:  # another length, or a point of low order
        raise InvalidInput(
            "the recipient's key is not an X25519 public key", field="public_key", hint="Make a new request."
        ) from error


def open_sealed(private: X25519PrivateKey, ciphertext: bytes, *, context: bytes) -> bytes:
    """Decrypt what `seal` made for this key and this context.

    Raises PermissionDenied if it was made for another key, another context, or was changed on its way.
    """
    if not ciphertext.startswith(_VERSION) or not _OVERHEAD <= len(ciphertext) <= MAX_PLAINTEXT + _OVERHEAD:
        raise _not_ours()
    try:
        return _SUITE.decrypt(ciphertext[len(_VERSION) :], private, info=_INFO + context)
    except (InvalidTag, ValueError) as error:
        raise _not_ours() from error


def _not_ours() -> PermissionDenied:
    return PermissionDenied(
        "the sealed answer was made for another request or was changed on its way", hint="Ask again."
    )
