"""HubService and JoinTokenService: the hub itself, and who may join it."""

from __future__ import annotations

import asyncio
from collections import Counter

from arbora.errors import InvalidInput
from arbora.identity.names import Kind
from arbora.identity.rotation import Step
from arbora.rpc.guard import Context
from arbora.v1 import access_pb2 as pb
from arbora.v1 import access_pb2_grpc, enrollment_pb2
from arbora.version import __version__
from arbora_hub.api import views
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.enrollment.enrollment import Enrollment
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.wire import timestamp
from arbora_hub.tree.uplink import Uplink
from arbora_hub.unbroken import unbroken
from arbora_hub.workloads.controller import Workloads
from arbora_hub.workloads.labels import check_labels
from arbora_hub.workloads.prices import Prices

DEFAULT_LIFETIME = 3600.0
KINDS = {
    enrollment_pb2.CHILD_KIND_UNSPECIFIED: Kind.AGENT,
    enrollment_pb2.CHILD_KIND_AGENT: Kind.AGENT,
    enrollment_pb2.CHILD_KIND_HUB: Kind.HUB,
}


class JoinTokenService(access_pb2_grpc.JoinTokenServiceServicer):
    """Served on the client port."""

    def __init__(self, enrollment: Enrollment, join_address: str) -> None:
        self._enrollment = enrollment
        self._join_address = join_address

    async def CreateJoinToken(
        self, request: pb.CreateJoinTokenRequest, context: Context
    ) -> pb.CreateJoinTokenResponse:
        """See access.proto."""
        kind = KINDS.get(request.kind)
        if kind is None:
            raise InvalidInput("is neither agent nor hub", field="kind")
        lifetime = (
            request.lifetime.ToTimedelta().total_seconds() if request.HasField("lifetime") else DEFAULT_LIFETIME
        )
        token, row = await self._enrollment.create_token(
            kind, request.name, check_labels(dict(request.labels), "labels"), lifetime, request.uses or 1
        )
        return pb.CreateJoinTokenResponse(
            join_token=views.join_token(row), token=token.text(), join_address=self._join_address
        )

    async def ListJoinTokens(
        self, request: pb.ListJoinTokensRequest, context: Context
    ) -> pb.ListJoinTokensResponse:
        """See access.proto."""
        return pb.ListJoinTokensResponse(
            join_tokens=[views.join_token(row) for row in await self._enrollment.list_tokens()]
        )

    async def RevokeJoinToken(
        self, request: pb.RevokeJoinTokenRequest, context: Context
    ) -> pb.RevokeJoinTokenResponse:
        """See access.proto."""
        await self._enrollment.revoke_token(request.id)
        return pb.RevokeJoinTokenResponse()


class HubService(access_pb2_grpc.HubServiceServicer):
    """Served on the client port."""

    def __init__(
        self,
        authority: HubAuthority,
        inventory: Inventory,
        workloads: Workloads,
        prices: Prices,
        join_address: str,
        uplink: Uplink,
        exports: str,
    ) -> None:
        """exports: what goes up, lines or summary."""
        self._uplink = uplink
        self._exports = exports
        self._prices = prices
        self._authority = authority
        self._inventory = inventory
        self._workloads = workloads
        self._join_address = join_address
        self._started = asyncio.get_running_loop().time()

    async def GetHub(self, request: pb.GetHubRequest, context: Context) -> pb.GetHubResponse:
        """See access.proto."""
        counts = Counter(child.liveness.name.lower() for child in self._inventory)
        return pb.GetHubResponse(
            id=self._authority.hub_id,
            version=__version__,
            uptime=views.duration(asyncio.get_running_loop().time() - self._started),
            path=str(self._inventory.own_path),
            join_address=self._join_address,
            authority=self._keys(),
            members=counts,
            workloads=len(self._workloads),
            trust_domain=self._authority.trust_domain,
            prices_age=views.duration(age) if (age := self._prices.age()) is not None else None,
            uplink=self._shown(),
        )

    async def RotateAuthority(
        self, request: pb.RotateAuthorityRequest, context: Context
    ) -> pb.RotateAuthorityResponse:
        """See access.proto."""
        try:
            step = Step(request.step)
        except ValueError as error:
            raise InvalidInput(f"{request.step!r} is none of prepare, activate, retire", field="step") from error
        await unbroken(self._authority.rotate(step, forced=request.forced))
        return pb.RotateAuthorityResponse(authority=self._keys())

    async def MoveHub(self, request: pb.MoveHubRequest, context: Context) -> pb.MoveHubResponse:
        """See access.proto."""
        if request.detach:
            if request.parent or request.join_token or request.standby:
                raise InvalidInput("detaches and attaches at once", field="detach", hint="Give one of them.")
            await unbroken(self._uplink.detach())
        elif not request.parent:
            raise InvalidInput("is missing", field="parent", hint="Give the parent's join address, host:port.")
        else:
            await unbroken(self._uplink.move(request.parent, request.join_token, standby=request.standby))
        return pb.MoveHubResponse(path=str(self._inventory.own_path), uplink=self._shown())

    def _shown(self) -> pb.Uplink | None:
        report = self._uplink.report()
        if report is None:
            return None
        return pb.Uplink(
            parent=report.parent,
            phase=report.phase,
            message=report.sentence,
            session_epoch=report.session_epoch,
            exports=self._exports,
            standby=report.standbys,
        )

    def _keys(self) -> list[pb.AuthorityKey]:
        return [
            pb.AuthorityKey(
                serial=slot.serial,
                phase=slot.phase.value,
                not_before=timestamp(slot.not_before.timestamp()),
                not_after=timestamp(slot.not_after.timestamp()),
                pin=self._authority.pin_of(slot.serial),
            )
            for slot in self._authority.slots
        ]
