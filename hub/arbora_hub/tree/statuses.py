"""What a member at any depth last said of its cluster: known here, or asked of the hub that owns it."""

from __future__ import annotations

import time
from collections.abc import Callable

from arbora.identity.bearer import Role
from arbora.rpc.guard import Caller, caller
from arbora.v1 import member_pb2
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.route import Below, to_member

GET_MEMBER = "/arbora.v1.MemberService/GetMember"
KEPT_SECONDS = 60.0
"""How long an answer from further down is good for. It holds slow facts."""
KEPT_LIMIT = 2000


class Statuses:
    """Asks, as this hub itself, and keeps answers for a while, unless the member has said nothing yet."""

    def __init__(self, inventory: Inventory, calls: Calls, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, never going back."""
        self._inventory = inventory
        self._calls = calls
        self._clock = clock
        self._kept: dict[str, tuple[float, member_pb2.ClusterStatus]] = {}

    async def of(self, path: str) -> member_pb2.ClusterStatus:
        """Empty if it said nothing yet. Raises ArboraError."""
        place = to_member(self._inventory.own_path, path)
        if not isinstance(place, Below):
            return self._inventory.resolve(place.name).status or member_pb2.ClusterStatus()
        key = f"{place.child}/{place.text}"
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept[0] < KEPT_SECONDS:
            return kept[1]
        caller.set(Caller("hub", Role.VIEWER))
        asked = member_pb2.GetMemberRequest(path=place.text)
        answer = await self._calls.forward(place.child, GET_MEMBER, asked, member_pb2.GetMemberResponse)
        status = answer.member.status
        if status.kubernetes_version or status.api_ca_pem:
            if len(self._kept) >= KEPT_LIMIT:
                self._kept.clear()
            self._kept[key] = (self._clock(), status)
        return status

    async def ca_of(self, path: str) -> bytes:
        """The PEM that verifies its API server. Raises ArboraError."""
        return (await self.of(path)).api_ca_pem
