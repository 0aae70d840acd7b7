"""`HubClient`: one hub as an asyncio object, its nouns as attributes.

    async with HubClient.from_context() as hub:
        async for member in hub.members.list("gpu=h100"):
            print(member.path)

Methods return the generated messages, which are typed. This module only puts the parts together; how calls
are made stands in `calls.py`, each noun in its own module.
"""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Self

import grpc

from arbora.client.access import AccessTokens, JoinTokens
from arbora.client.calls import Calls
from arbora.client.connect import ConnectTokens
from arbora.client.gpus import Gpus
from arbora.client.members import Members
from arbora.client.records import Audit, Events
from arbora.client.tokens import Tokens
from arbora.client.workloads import Workloads
from arbora.context import Context, find_context
from arbora.rpc.channel import client_channel
from arbora.v1 import access_pb2 as pb
from arbora.v1.access_pb2_grpc import HubServiceStub

Step = Literal["prepare", "activate", "retire"]


class HubClient:
    """A connection to one hub. Connects at the first call; close it, or use it as a context."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        calls: Calls = Calls(),  # noqa: B008 (immutable)
        address: str = "",
    ) -> None:
        self.address = address
        """host:port of the hub, as the context says it."""
        self._channel = channel
        self._calls = calls
        self._stub = HubServiceStub(channel)
        self.members = Members(channel, calls)
        self.gpus = Gpus(channel, calls)
        self.workloads = Workloads(channel, calls)
        self.tokens = Tokens(channel, calls)
        self.events = Events(channel, calls)
        self.audit = Audit(channel, calls)
        self.access = AccessTokens(channel, calls)
        self.connect_tokens = ConnectTokens(channel, calls)
        self.join_tokens = JoinTokens(channel, calls)

    @classmethod
    def from_context(cls, context: Context | None = None, *, deadline: float = 30.0) -> Self:
        """A client for `context`; None: the one that `find_context` finds.

        deadline: seconds for a unary call. Raises NotFound, InvalidInput. Call it inside a running loop.
        """
        if context is None:
            _, context = find_context()
        channel = client_channel(context.hub, context.ca.encode(), context.token)
        return cls(channel, Calls(deadline=deadline), context.hub)

    async def info(self) -> pb.GetHubResponse:
        """Version, addresses, counts and CAs of the hub."""
        return await self._calls.read(self._stub.GetHub, pb.GetHubRequest())

    async def rotate_authority(self, step: Step) -> list[pb.AuthorityKey]:
        """Take the CA rotation one phase on; the CAs afterwards."""
        answer = await self._calls.write(self._stub.RotateAuthority, pb.RotateAuthorityRequest(step=step))
        return list(answer.authority)

    async def move(self, parent: str, join_token: str = "", *, standby: bool = False) -> pb.MoveHubResponse:
        """Give the hub another parent; the answer comes once it has joined there, before it is connected.

        parent: host:port of its join port. join_token: of kind hub, made there; empty: it was joined before.
        standby: only as a further parent, for when those before can't be reached.
        """
        request = pb.MoveHubRequest(parent=parent, join_token=join_token, standby=standby)
        return await self._calls.write(self._stub.MoveHub, request)

    async def detach(self) -> pb.MoveHubResponse:
        """Leave the parent and become a root."""
        return await self._calls.write(self._stub.MoveHub, pb.MoveHubRequest(detach=True))

    async def close(self) -> None:
        """Close the connection; calls that still run are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
