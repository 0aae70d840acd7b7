"""The certificate of the gateway: that of the hub's other open ports, for Python's own TLS."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from arbora.files import write_atomic
from arbora.rpc.server import ServerTls


def server_context() -> ssl.SSLContext:
    """Without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Nobody comes back with one: each kubectl is a new process.
    context.num_tickets = 0
    return context


def present(context: ssl.SSLContext, tls: ServerTls, folder: Path) -> None:
    """New connections see this certificate. folder: where its key lies for a moment, as ssl reads only files."""
    with tempfile.TemporaryDirectory(prefix="gateway-", dir=folder) as scratch:
        chain, key = Path(scratch) / "chain.pem", Path(scratch) / "key.pem"
        write_atomic(chain, tls.chain_pem, 0o600)
        write_atomic(key, tls.key_pem, 0o600)
        context.load_cert_chain(chain, key)
