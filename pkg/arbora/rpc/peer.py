"""Who the TLS peer is. Identity is what the certificate proves, never what a message says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import grpc
from cryptography import x509

from arbora.errors import InvalidInput, Unauthenticated
from arbora.identity.names import SpiffeId


@dataclass(frozen=True, slots=True)
class Peer:
    """The identity behind a mutual TLS connection."""

    spiffe_id: SpiffeId
    serial: str
    """Of the certificate, lower-case hex without leading zeros."""
    not_after: float
    """End of the certificate, seconds since the epoch."""
    issuer: str
    """Key identifier of the CA that signed it, hex; empty: it names none."""
    address: str


def peer_of(context: grpc.aio.ServicerContext[Any, Any]) -> Peer:
    """Read the peer's certificate. Raises Unauthenticated unless it has exactly one SPIFFE URI."""
    auth = context.auth_context()
    uris = [uri.decode() for uri in auth.get("peer_uri", ())]
    pems = list(auth.get("x509_pem_cert", ()))
    if len(uris) != 1 or len(pems) != 1:
        raise Unauthenticated("the client certificate must carry exactly one SPIFFE URI")
    try:
        spiffe_id = SpiffeId.parse(uris[0])
    except InvalidInput as error:
        raise Unauthenticated("the client certificate's URI is not a SPIFFE id of this hub") from error
    serial, not_after, issuer = _said(pems[0])
    return Peer(spiffe_id, serial, not_after, issuer, context.peer())


@lru_cache(maxsize=256)
def _said(pem: bytes) -> tuple[str, float, str]:
    """Serial, end and issuer; a child that opens ways shows the same certificate each time."""
    leaf = x509.load_pem_x509_certificate(pem)
    try:
        named = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        named = None
    return f"{leaf.serial_number:x}", leaf.not_valid_after_utc.timestamp(), named.hex() if named else ""
