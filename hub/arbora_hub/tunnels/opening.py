"""Asks a child for a way into a member: `tunnel/<id>` down, and the stream that the child opens for it.

    open(path) -> tunnel/<id> in the child's desired map -> the child dials TunnelService.Tunnel -> a TunnelEnd

A stream counts only if it comes from the child that was asked. The record is volatile and goes when the stream
has come, or nobody waits for it any more. The same key with nothing in it cuts the tunnel: in the stream itself
that would wait behind what a member does not read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from arbora.errors import ArboraError, DeadlineExceeded, Exhausted, InvalidInput, Unavailable
from arbora.identity.names import Path
from arbora.rpc.status import error_to_raise
from arbora.tunnel.ends import TunnelEnd
from arbora.v1 import tunnel_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.calls import MAX_MESSAGE, Sending
from arbora_hub.tree.route import Below, to_member

OPEN_SECONDS = 10.0
OPEN_LIMIT = 2000
"""Tunnels through this hub at once."""
OF_ONE_CHILD = 200
MAX_REQUESTER = 200


@dataclass
class Asked:
    """A tunnel that a child was asked for."""

    child: Child
    key: str
    """Of the record."""
    came: asyncio.Future[TunnelEnd]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once nobody needs the stream any more; its call ends then."""
    given_up: bool = False
    """It is over before both ways have ended."""

    def give_up(self) -> None:
        """What is still on its way is of no use to anybody."""
        self.given_up = True
        self.over.set()


class Tunnels:
    """Tunnels that go down from this hub."""

    def __init__(self, sessions: Sending, inventory: Inventory) -> None:
        self._sessions = sessions
        self._inventory = inventory
        self._asked: dict[str, Asked] = {}
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    @asynccontextmanager
    async def open(self, text: str, requester: str, seconds: float = OPEN_SECONDS) -> AsyncIterator[TunnelEnd]:
        """A way into the member at the path `text`, open while the block lasts.

        requester: for the member's log. Raises NotFound, InvalidInput, Unavailable, PermissionDenied (the
        member's own decision), DeadlineExceeded, Exhausted.
        """
        place = to_member(self._inventory.own_path, text)
        rest = ""
        if isinstance(place, Below):
            child, rest = self._inventory.resolve(place.child), place.text
            if child.row.kind != "hub":
                raise InvalidInput(f"{self._inventory.path_of(child)} is a member, so nothing is below it")
        else:
            child = self._inventory.resolve(place.name)
            if child.row.kind != "agent":
                raise InvalidInput(
                    f"{self._inventory.path_of(child)} is a hub, and ways lead only into member clusters"
                )
        path = self._inventory.path_of(child)
        if not self._sessions.connected(child.name):
            raise Unavailable(
                f"{path} is not connected, so there is no way into it",
                hint=f"See `arbora members describe {path}`.",
            )
        if self._open.total() >= OPEN_LIMIT or self._open[child.name] >= OF_ONE_CHILD:
            raise Exhausted(f"{self._open[child.name]} tunnels to {path} are open", retry_after=5.0)
        self._open[child.name] += 1
        id = secrets.token_hex(8)
        asked = Asked(child, f"tunnel/{id}", asyncio.get_running_loop().create_future())
        self._asked[id] = asked
        try:
            yield await self._ask(id, asked, path, rest, requester, seconds)
        except BaseException:
            asked.give_up()
            raise
        finally:
            self._asked.pop(id, None)
            asked.over.set()
            self._open[child.name] -= 1
            if not self._open[child.name]:
                del self._open[child.name]

    async def _ask(
        self, id: str, asked: Asked, path: Path, rest: str, requester: str, seconds: float
    ) -> TunnelEnd:
        request = pb.TunnelRequest(id=id, path=rest, requester=requester[:MAX_REQUESTER])
        request.patience.FromMilliseconds(int(seconds * 1000))
        self._sessions.put(asked.child, asked.key, request.SerializeToString(), volatile=True)
        try:
            async with asyncio.timeout(seconds):
                return await asked.came
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{path} opened no tunnel within {seconds:.1f} s", hint="Try again, or look at its agent's log."
            ) from error
        finally:
            self._sessions.delete(asked.child, asked.key)

    def cut(self, asked: Asked) -> None:
        """Tell the child that nobody needs the stream any more."""
        if self._sessions.connected(asked.child.name):
            self._sessions.put(asked.child, asked.key, b"", volatile=True)

    def child_changed(self, child: Child) -> None:
        """One that is evicted loses its tunnels at once."""
        if not self._inventory.active(child):
            for asked in self._asked.values():
                if asked.child is child:
                    asked.over.set()

    # what the children's streams say

    def arrived(self, name: str, opened: pb.TunnelOpened) -> Asked:
        """The child `name` says what came of a request. Raises InvalidInput if it was not asked."""
        asked = self._asked.get(opened.id)
        if asked is None or asked.child.name != name or asked.came.done():
            raise InvalidInput("nobody waits for this tunnel", hint="Whoever asked for it has given up.")
        if opened.HasField("refusal"):
            path = self._inventory.path_of(asked.child)
            asked.came.set_exception(_refused(opened.refusal, path))
        return asked


def _refused(refusal: pb.TunnelRefusal, path: Path) -> ArboraError:
    """The error of a child, to raise here. What it says of others than itself and those below is its own word."""
    detail = refusal.detail
    detail.hint = detail.hint[:MAX_MESSAGE]
    detail.field = ""
    hop = path
    if detail.hop:
        try:
            said = Path.parse(detail.hop)
        except InvalidInput:
            said = path
        hop = said if said.relative_to(path) is not None else path
    detail.hop = str(hop)
    return error_to_raise(detail, f"{hop}: {refusal.message[:MAX_MESSAGE]}", ArboraError)
