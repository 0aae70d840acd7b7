"""ConnectService: tokens that open the way to one member's API server."""

from __future__ import annotations

import secrets

from arbora.errors import InvalidInput, NotFound
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.rpc.guard import Context
from arbora.v1 import tunnel_pb2 as pb
from arbora.v1 import tunnel_pb2_grpc
from arbora_hub.api.access import AccessList
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.gateway.gateway import Gateway
from arbora_hub.gateway.naming import dotted
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.wire import timestamp
from arbora_hub.tree.route import Below, to_member
from arbora_hub.unbroken import unbroken

MIN_LIFETIME = 60.0


class ConnectService(tunnel_pb2_grpc.ConnectServiceServicer):
    """Served on the client port."""

    def __init__(
        self, accesses: AccessList, authority: HubAuthority, inventory: Inventory, gateway: Gateway
    ) -> None:
        self._accesses = accesses
        self._authority = authority
        self._inventory = inventory
        self._gateway = gateway

    async def CreateConnectToken(
        self, request: pb.CreateConnectTokenRequest, context: Context
    ) -> pb.CreateConnectTokenResponse:
        """See tunnel.proto. Whether there is such a member further down is found out by whoever connects."""
        if not self._gateway.address:
            raise NotFound(
                "this hub has no gateway into members",
                hint="Start it with --gateway-address :7447, or ask the hub above or below.",
            )
        place = to_member(self._inventory.own_path, request.path)
        child = self._inventory.resolve(place.child if isinstance(place, Below) else place.name)
        if (child.row.kind == "hub") is not isinstance(place, Below):
            path = self._inventory.path_of(child)
            raise InvalidInput(f"{path} is a {child.row.kind}, and ways lead into members only", field="path")
        member = Path((place.child, *place.rest.labels)) if isinstance(place, Below) else Path((place.name,))
        lifetime = request.lifetime.ToTimedelta().total_seconds() if request.HasField("lifetime") else None
        if lifetime is not None and lifetime < MIN_LIFETIME:
            raise InvalidInput(f"is {lifetime:g} s, and {MIN_LIFETIME:g} s is the least", field="lifetime")
        relative = "/".join(member.labels)
        name = request.name or f"to-{member.labels[-1][:40]}-{secrets.token_hex(3)}"
        token, row = await unbroken(self._accesses.create(name, Role.VIEWER, lifetime, member=relative))
        answer = pb.CreateConnectTokenResponse(
            name=row.name,
            token=token.text(),
            user=dotted(relative),
            gateway=self._gateway.address,
            ca_pem=self._authority.bundle().to_pem(),
        )
        if row.expires is not None:
            answer.expires.CopyFrom(timestamp(row.expires))
        return answer
