"""Tokens into members for clients' tests (`fake_hub.py`): the generated servicer over its state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from arbora.errors import Conflict, NotFound
from arbora.v1 import access_pb2, enrollment_pb2, tunnel_pb2, tunnel_pb2_grpc

if TYPE_CHECKING:
    from tests.support.fake_hub import FakeHub


class Connect(tunnel_pb2_grpc.ConnectServiceServicer):
    """Makes them for members that are there, and lists them among the accesses."""

    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def CreateConnectToken(self, request: Any, context: Any) -> Any:
        hub = self._hub
        if not hub.gateway:
            raise NotFound("this hub has no gateway into members", hint="Start it with --gateway-address :7447.")
        member = hub.members.get(f"/{request.path.strip('/')}")
        if member is None or member.kind != enrollment_pb2.CHILD_KIND_AGENT:
            raise NotFound(f"there is no member {request.path}", hint="See `arbora members list`.")
        labels = member.path.strip("/").split("/")
        name = request.name or f"to-{labels[-1]}-{len(hub.access)}"
        if name in hub.access:
            raise Conflict(f"there is an access {name} already")
        access = access_pb2.Access(name=name, role=access_pb2.ROLE_VIEWER, member="/".join(labels))
        access.created.GetCurrentTime()
        answer = tunnel_pb2.CreateConnectTokenResponse(
            name=name,
            token=f"arbk.{name}.way",
            user=".".join(reversed(labels)),
            gateway=hub.gateway,
            ca_pem=hub.ca_pem,
        )
        if request.HasField("lifetime"):
            access.expires.FromDatetime(datetime.now(UTC) + request.lifetime.ToTimedelta())
            answer.expires.CopyFrom(access.expires)
        hub.access[name] = access
        return answer
