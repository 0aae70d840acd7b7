"""Channels: how children and clients dial. Every one verifies the hub against a pinned CA.

The hub's certificate always carries the name SERVER_NAME, and every channel asks for that name, so a hub
can move to another address or stand behind a load balancer and TLS still proves that it is this hub:
its CA signs no other server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from arbora.identity.names import SERVER_NAME
from arbora.rpc import options
from arbora.secret import Secret


def _named(base: options.Options) -> options.Options:
    return (*base, ("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.default_authority", SERVER_NAME))


def join_channel(address: str, ca_pem: bytes) -> grpc.aio.Channel:
    """To the join port: the hub is verified, the caller has no certificate yet."""
    credentials = grpc.ssl_channel_credentials(root_certificates=ca_pem)
    return grpc.aio.secure_channel(address, credentials, options=_named(options.JOIN_CHANNEL))


def session_channel(address: str, ca_pem: bytes, key_pem: bytes, chain_pem: bytes) -> grpc.aio.Channel:
    """To the session port, with one snapshot of the child's certificate; a renewed one needs a new channel."""
    credentials = grpc.ssl_channel_credentials(ca_pem, key_pem, chain_pem)
    return grpc.aio.secure_channel(address, credentials, options=_named(options.SESSION_CHANNEL))


def node_channel(address: str, ca_pem: bytes) -> grpc.aio.Channel:
    """From a node's agent to its cluster's, which is verified; the caller shows a token with each call."""
    credentials = grpc.ssl_channel_credentials(root_certificates=ca_pem)
    return grpc.aio.secure_channel(address, credentials, options=_named(options.SESSION_CHANNEL))


def client_channel(address: str, ca_pem: bytes, bearer: Secret | None) -> grpc.aio.Channel:
    """To the client port, with a bearer token on every call."""
    credentials = grpc.ssl_channel_credentials(root_certificates=ca_pem)
    interceptors: list[grpc.aio.ClientInterceptor] = []
    if bearer is not None:
        interceptors = [_BearerOnUnary(bearer), _BearerOnStream(bearer)]
    return grpc.aio.secure_channel(
        address, credentials, options=_named(options.CLIENT_CHANNEL), interceptors=interceptors
    )


class _Bearer:
    """Puts the token on a call.

    Not by call credentials: their destructor needs Python's lock on a thread of grpc, while whoever lets go of
    the last channel or server holds that lock and waits for this thread; the process then hangs for good
    (grpc/grpc pull request 42247).
    """

    def __init__(self, bearer: Secret) -> None:
        self._bearer = bearer

    def _signed(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata.add("authorization", f"Bearer {self._bearer.reveal()}")
        return grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )


class _BearerOnUnary(_Bearer, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._signed(details), request)


class _BearerOnStream(_Bearer, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._signed(details), request)
