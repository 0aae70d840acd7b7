"""Members of a hub: `hub.members`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping

import grpc

from arbora.client.calls import Calls
from arbora.v1 import member_pb2 as pb
from arbora.v1.member_pb2_grpc import MemberServiceStub


class Members:
    """Reads and marks members. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = MemberServiceStub(channel)
        self._calls = calls

    def list(self, selector: str = "") -> AsyncGenerator[pb.Member, None]:
        """Members in the order of their paths. selector: as kubectl writes it; empty: all."""

        async def page(token: str) -> tuple[list[pb.Member], str]:
            request = pb.ListMembersRequest(selector=selector, page_token=token)
            answer = await self._calls.read(self._stub.ListMembers, request)
            return list(answer.members), answer.next_page_token

        return self._calls.pages(page)

    async def get(self, path: str) -> pb.Member:
        """One member, by its name or its path at any depth below the hub."""
        return (await self._calls.read(self._stub.GetMember, pb.GetMemberRequest(path=path))).member

    async def tree(self, path: str = "", depth: int = 0) -> pb.GetTreeResponse:
        """Everything below a hub, as lines with paths from the root; hubs that did not answer are gaps.

        path: of the hub; empty: the one that is asked. depth: levels; 0: all.
        """
        return await self._calls.read(self._stub.GetTree, pb.GetTreeRequest(path=path, depth=depth))

    def watch(self, selector: str = "") -> AsyncGenerator[pb.WatchMembersResponse, None]:
        """Every member once, then each one that changes."""
        return self._calls.stream(self._stub.WatchMembers, pb.WatchMembersRequest(selector=selector))

    async def label(
        self, path: str, set: Mapping[str, str] | None = None, remove: Iterable[str] = ()
    ) -> pb.Member:
        """Set and remove labels; the member afterwards."""
        request = pb.LabelMemberRequest(path=path, set=dict(set or {}), remove=list(remove))
        return (await self._calls.write(self._stub.LabelMember, request)).member

    async def taint(self, path: str, set: Iterable[pb.Taint] = (), remove: Iterable[pb.Taint] = ()) -> pb.Member:
        """Set and remove taints; the member afterwards. Without an effect, every taint of a key is removed."""
        request = pb.TaintMemberRequest(path=path, set=set, remove=remove)
        return (await self._calls.write(self._stub.TaintMember, request)).member

    async def cordon(self, path: str, cordoned: bool = True) -> pb.Member:
        """Keep new work away from a member, or let it come again."""
        request = pb.CordonMemberRequest(path=path, cordoned=cordoned)
        return (await self._calls.write(self._stub.CordonMember, request)).member

    async def evict(self, path: str, reason: str = "") -> None:
        """Deny the member's identity, close its session, forget it."""
        await self._calls.write(self._stub.EvictMember, pb.EvictMemberRequest(path=path, reason=reason))
