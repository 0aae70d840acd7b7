"""The one moment without trust: fetch a hub's certificate chain and find the CA that the join token pins."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from arbora.errors import DeadlineExceeded, Unavailable
from arbora.identity.bundle import authority_with_pin
from arbora.identity.names import SERVER_NAME
from arbora.session.addresses import split
from arbora.session.credential import utc_now


async def pinned_authority(address: str, pin: str, seconds: float) -> bytes:
    """PEM of the CA whose public key has the SHA-256 `pin`, as presented by the server at `address`.

    Raises Unavailable (nobody answers), DeadlineExceeded, PermissionDenied (another hub answers).
    """
    host, port = split(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent over this connection and nothing is believed of it but what the pin proves.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(seconds):
            _reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=SERVER_NAME)
            try:
                chain = _chain(writer.get_extra_info("ssl_object"))
            finally:
                writer.transport.abort()
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"the hub at {address} did not finish a TLS handshake in {seconds:g} s",
            hint="Check that this is the join port and that no proxy stands between.",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"the hub at {address} can't be reached: {error.strerror or error}",
            hint="Check the address, the network's outbound rules, and that the hub is running.",
        ) from error
    return authority_with_pin(chain, pin, utc_now())


def _chain(tls: Any) -> list[bytes]:
    """The peer's chain in DER. Public since Python 3.13; before, only on the wrapped object."""
    if hasattr(tls, "get_unverified_chain"):
        return list(tls.get_unverified_chain())
    return [ssl.PEM_cert_to_DER_cert(entry.public_bytes()) for entry in tls._sslobj.get_unverified_chain()]
