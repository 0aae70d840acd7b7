"""Servers: ports, TLS that follows the CA rotation, the guard, an orderly stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from arbora.errors import Conflict
from arbora.rpc.guard import Gate, Guard
from arbora.rpc.options import Options
from arbora.rpc.policy import POLICY, Rule


@dataclass(frozen=True, slots=True)
class ServerTls:
    """One snapshot of what a port presents and accepts."""

    key_pem: bytes
    chain_pem: bytes
    """Leaf first, then the CA, so that a first contact can check the CA's pin."""
    client_ca_pem: bytes | None = None
    """Who may connect (mutual TLS); None: anybody."""


def build(options: Options, gate: Gate, policy: dict[str, Rule] = POLICY) -> grpc.aio.Server:
    """A server whose every method passes the guard, which goes by `policy`."""
    return grpc.aio.server(interceptors=[Guard(gate, policy)], options=options)


def listen(server: grpc.aio.Server, address: str, current: Callable[[], ServerTls]) -> int:
    """Open `address` (host:port, port 0 picks one) and return the port.

    current: called by grpc for each new connection, on a foreign thread. It must return a snapshot that
    is already in memory and never raise: grpc would silently go on with the old one.
    Raises Conflict if the address is taken.
    """

    def configuration(tls: ServerTls) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(tls.key_pem, tls.chain_pem)], root_certificates=tls.client_ca_pem
        )

    last: list[ServerTls] = [current()]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        tls = current()
        if tls is last[0]:
            return None
        last[0] = tls
        return configuration(tls)

    credentials = grpc.dynamic_ssl_server_credentials(
        configuration(last[0]),
        fetch,  # type: ignore[arg-type]  # None means "unchanged", which the stubs don't know
        require_client_authentication=last[0].client_ca_pem is not None,
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise Conflict(
            f"can't listen on {address}: {error}",
            hint="Another process holds the port, or the host isn't an address of this machine. "
            "Choose another with --client-address, --join-address, --session-address or --node-address.",
        ) from error
    return port
