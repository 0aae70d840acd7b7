"""Keeps the slow facts of members below child hubs: asks the owning hub when a digest is another one.

    a line with another digest -> `look` -> GetMember, as a travelling call -> `of`, and whoever wants to hear

A few members at once, each with growing pauses after a failure; what was known before holds meanwhile. Only
members that are online are asked for: of the others nobody knows anything newer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from arbora.clock import Clock
from arbora.identity.bearer import Role
from arbora.rpc.guard import Caller, caller
from arbora.v1 import member_pb2 as pb
from arbora_hub.api.members import GET_MEMBER
from arbora_hub.inventory.facts import Facts, facts_of
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.view import MemberView

AT_ONCE = 8
"""Calls that wait for their answers."""
AS = Caller("kubernetes/profiles", Role.VIEWER)
"""Whose call it is, for the hubs on the way."""


class Forwarding(Protocol):
    """What is needed of `arbora_hub.tree.calls.Calls`."""

    async def forward(
        self, name: str, method: str, request: pb.GetMemberRequest, response: type[pb.GetMemberResponse]
    ) -> pb.GetMemberResponse:
        """What the child hub `name` answers. Raises ArboraError."""
        ...


class Asking:
    """Facts of members below child hubs, by path relative to this hub."""

    def __init__(
        self,
        calls: Forwarding,
        view: Callable[[str], MemberView | None],
        learned: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """view: what is known of a member now. learned: told of each member whose facts came in."""
        self._calls = calls
        self._view = view
        self._learned = learned
        self._known: dict[str, tuple[bytes, Facts]] = {}
        """With the digest that they were asked for."""
        self._controller = Controller("facts of members", self._ask, clock, workers=AT_ONCE)

    def of(self, relative: str) -> Facts | None:
        """As last known; None: nobody answered yet."""
        known = self._known.get(relative)
        return known[1] if known is not None else None

    def look(self, relative: str) -> None:
        """What is known of the member changed, or it is gone."""
        view = self._view(relative)
        if view is None:
            self._known.pop(relative, None)
        elif self._outdated(view):
            self._controller.add(relative)

    async def run(self) -> None:
        """Until cancelled."""
        await self._controller.run()

    async def _ask(self, relative: str) -> float | None:
        view = self._view(relative)
        if view is None or not self._outdated(view):
            return None
        caller.set(AS)
        hub, _, rest = relative.partition("/")
        answer = await self._calls.forward(hub, GET_MEMBER, pb.GetMemberRequest(path=rest), pb.GetMemberResponse)
        if self._view(relative) is not None:
            self._known[relative] = (view.digest, facts_of(answer.member.status))
            self._learned(relative)
        return None

    def _outdated(self, view: MemberView) -> bool:
        known = self._known.get(view.relative)
        fresh = known is not None and known[0] == view.digest
        return bool(view.digest) and not fresh and view.liveness is Liveness.ONLINE
