"""Who may do what: `hub.access` (bearer tokens of clients) and `hub.join_tokens` (what children join with).

New tokens are shown once, in the answer that makes them; the caller must not log that message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from arbora.client.calls import Calls
from arbora.v1 import access_pb2 as pb
from arbora.v1 import enrollment_pb2
from arbora.v1.access_pb2_grpc import AccessServiceStub, JoinTokenServiceStub


class AccessTokens:
    """Gives and ends clients' access. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = AccessServiceStub(channel)
        self._calls = calls

    async def create(
        self, name: str, role: pb.Role.ValueType, lifetime: timedelta | None = None
    ) -> pb.CreateAccessResponse:
        """Make an access; its secret is in the answer and nowhere else. lifetime: None means until revoked."""
        request = pb.CreateAccessRequest(name=name, role=role, lifetime=_duration(lifetime))
        return await self._calls.write(self._stub.CreateAccess, request)

    async def list(self) -> list[pb.Access]:
        """All of them, in the order of their names."""
        return list((await self._calls.read(self._stub.ListAccess, pb.ListAccessRequest())).access)

    async def revoke(self, name: str) -> None:
        """End one at once."""
        await self._calls.write(self._stub.RevokeAccess, pb.RevokeAccessRequest(name=name))

    async def whoami(self) -> pb.Access:
        """The caller's own."""
        return (await self._calls.read(self._stub.WhoAmI, pb.WhoAmIRequest())).access


class JoinTokens:
    """Lets children join. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = JoinTokenServiceStub(channel)
        self._calls = calls

    async def create(
        self,
        name: str = "",
        *,
        kind: enrollment_pb2.ChildKind.ValueType = enrollment_pb2.CHILD_KIND_AGENT,
        labels: Mapping[str, str] | None = None,
        lifetime: timedelta | None = None,
        uses: int = 1,
    ) -> pb.CreateJoinTokenResponse:
        """Make a join token; the whole token is in the answer and nowhere else.

        name: bind it to this name. lifetime: None means one hour. uses: how many may join with it.
        """
        request = pb.CreateJoinTokenRequest(
            name=name, kind=kind, labels=dict(labels or {}), lifetime=_duration(lifetime), uses=uses
        )
        return await self._calls.write(self._stub.CreateJoinToken, request)

    async def list(self) -> list[pb.JoinToken]:
        """Those that can still be used, in the order of their expiry."""
        answer = await self._calls.read(self._stub.ListJoinTokens, pb.ListJoinTokensRequest())
        return list(answer.join_tokens)

    async def revoke(self, id: str) -> None:
        """End one at once."""
        await self._calls.write(self._stub.RevokeJoinToken, pb.RevokeJoinTokenRequest(id=id))


def _duration(value: timedelta | None) -> Duration | None:
    if value is None:
        return None
    duration = Duration()
    duration.FromTimedelta(value)
    return duration
