"""Ways into members: `hub.connect_tokens`.

A token opens the way to one member's API server through the hub's gateway, and does nothing else. It is listed
and revoked among the accesses: `hub.access`.
"""

from __future__ import annotations

from datetime import timedelta

import grpc

from arbora.client.calls import Calls
from arbora.v1 import tunnel_pb2 as pb
from arbora.v1.tunnel_pb2_grpc import ConnectServiceStub


class ConnectTokens:
    """Makes them. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = ConnectServiceStub(channel)
        self._calls = calls

    async def create(
        self, path: str, lifetime: timedelta | None = None, name: str = ""
    ) -> pb.CreateConnectTokenResponse:
        """A new one. path: of the member. lifetime: None: until it is revoked. name: empty: made up."""
        request = pb.CreateConnectTokenRequest(path=path, name=name)
        if lifetime is not None:
            request.lifetime.FromTimedelta(lifetime)
        return await self._calls.write(self._stub.CreateConnectToken, request)
