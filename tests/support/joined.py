"""Hubs that are joined in memory: what a parent puts for a child arrives at once, and back. For tests of calls.

    async with line_of_hubs(folder, "eu", "paris") as hubs:     the root, /eu and /eu/paris; edge-7 at the last

Each has a real store, inventory, `Calls` and `CallServer`; a link can be silent or gone. The methods that are
served are the real thing in small: they look their member up, or ask the next hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as Folder
from typing import Any

from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.rpc.guard import Caller, caller
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import Journal
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import WriteTx
from arbora_hub.store.rows import ChildRow
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.route import Below, to_member
from arbora_hub.tree.serving import CallServer, Handler

GET = "/arbora.v1.MemberService/GetMember"
LABEL = "/arbora.v1.MemberService/LabelMember"
MEMBER = "edge-7"


@dataclass
class Wire:
    """Between a hub and one below: the parent's `Sending` and the child's `Upward`."""

    up: bool = True
    """Whether there is a session."""
    silent: bool = False
    """Answers are lost."""
    twice: bool = False
    """Every call is delivered twice."""
    down: list[tuple[str, bytes]] = field(default_factory=list)
    """What went down, in order; so for the next."""
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    answered: Callable[[str, bytes], None] = lambda key, value: None
    new_parent: Callable[[], None] = lambda: None
    _call: Callable[[str, bytes | None], None] = lambda key, value: None

    def connected(self, name: str) -> bool:
        return self.up

    def put(self, first: Any, *rest: Any, volatile: bool = False) -> None:
        """Either end: the parent names the child first."""
        assert volatile, "calls leave no trace"
        loop = asyncio.get_running_loop()
        if isinstance(first, Child):
            key, value = rest
            self.down.append((key, value))
            for _ in range(2 if self.twice else 1):
                loop.call_soon(self._call, key, value)
            return
        self.answers.append((first, rest[0]))
        if not self.silent:
            loop.call_soon(self.answered, first, rest[0])

    def delete(self, child: Child, key: str) -> None:
        self.deleted.append(key)

    def observe(self, kind: str, observer: Callable[[str, bytes | None], None]) -> None:
        assert kind == "call"
        self._call = observer

    def on_parent(self, callback: Callable[[], None]) -> None:
        self.new_parent = callback

    def discard(self, key: str) -> None:
        """Nothing is kept."""


@dataclass
class JoinedHub:
    """One hub of the line."""

    inventory: Inventory
    calls: Calls
    below: Wire
    """To the next hub."""
    audit: list[tuple[str, str, str]] = field(default_factory=list)
    """Caller, method, outcome."""
    done: list[tuple[str, Caller]] = field(default_factory=list)
    """Paths that were asked of it, and by whom."""
    fail: BaseException | None = None
    """What its handler fails with."""
    stuck: bool = False
    """Its handler never ends."""

    async def audited(
        self, caller: Caller, method: str, request: object, answer: object | None, outcome: str
    ) -> None:
        self.audit.append((caller.name, method.rpartition("/")[2], outcome))

    async def get(self, request: pb.GetMemberRequest, context: object) -> pb.GetMemberResponse:
        """The member, wherever it is below."""
        self.done.append((request.path, caller.get()))
        if self.fail is not None:
            raise self.fail
        if self.stuck:
            await asyncio.get_running_loop().create_future()
        place = to_member(self.inventory.own_path, request.path)
        if isinstance(place, Below):
            onward = pb.GetMemberRequest(path=place.text)
            return await self.calls.forward(place.child, GET, onward, pb.GetMemberResponse)
        path = self.inventory.path_of(self.inventory.resolve(place.name))
        return pb.GetMemberResponse(member=pb.Member(path=str(path)))

    async def label(self, request: pb.LabelMemberRequest, context: object) -> pb.LabelMemberResponse:
        """Nothing but the answer."""
        self.done.append((request.path, caller.get()))
        place = to_member(self.inventory.own_path, request.path)
        if isinstance(place, Below):
            onward = pb.LabelMemberRequest(path=place.text, set=request.set)
            return await self.calls.forward(place.child, LABEL, onward, pb.LabelMemberResponse)
        return pb.LabelMemberResponse(member=pb.Member(path=request.path, labels=request.set))


def asked_by(name: str, role: Role) -> None:
    """From now on in this test: who calls the first hub."""
    caller.set(Caller(f"access/{name}", role=role, address="a test"))


@asynccontextmanager
async def line_of_hubs(folder: Folder, *names: str) -> AsyncIterator[list[JoinedHub]]:
    """The root and hubs below one another; the last has the member `edge-7`."""
    async with AsyncExitStack() as stack:
        hubs: list[JoinedHub] = []
        for depth, child in enumerate((*names, MEMBER)):
            inventory = await _inventory(stack, folder / str(depth), child, "agent" if child == MEMBER else "hub")
            inventory.own_path = Path(names[:depth])
            wire = Wire()
            hubs.append(JoinedHub(inventory, Calls(wire, inventory), wire))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = []
        for above, hub, name in zip(hubs[:-1], hubs[1:], names, strict=True):
            found = above.inventory.find(name)
            assert found is not None
            above.below.answered = _answered(above.calls, found)
            server = CallServer(above.below, hub, _path_of(hub))
            server.serve({GET: Handler(pb.GetMemberRequest, hub.get)})
            server.serve({LABEL: Handler(pb.LabelMemberRequest, hub.label)})
            running.append(tasks.create_task(server.run()))
        asked_by("alice", Role.OPERATOR)
        # Every server opens its group of tasks.
        for _ in hubs:
            await asyncio.sleep(0)
        try:
            yield hubs
        finally:
            for task in running:
                task.cancel()


def _answered(calls: Calls, child: Child) -> Callable[[str, bytes], None]:
    return lambda key, value: calls.observed(child, key, value)


def _path_of(hub: JoinedHub) -> Callable[[], Path]:
    return lambda: hub.inventory.own_path


async def _inventory(stack: AsyncExitStack, folder: Folder, child: str, kind: str) -> Inventory:
    await asyncio.to_thread(folder.mkdir, parents=True)
    store = await open_store(folder / "hub.db")
    stack.push_async_callback(store.close)

    async def enroll(tx: WriteTx) -> None:
        await tx.children.put(ChildRow(child, kind, session_epoch=1))

    await store.write(enroll)
    inventory = Inventory(store, Journal(store, 1000), Terms(10.0, 40.0, 60.0))
    await inventory.load()
    return inventory
