"""A hub's inventory that a test fills, and the member directory over it, in time that passes by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as Folder
from typing import Any

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.clock import ManualClock
from arbora.errors import Unavailable
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.rpc.guard import caller
from arbora.v1 import enrollment_pb2
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import Journal
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.view import MemberView
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store
from arbora_hub.store.rows import ChildRow

H100 = GpuClass("nvidia", "H100")
GRACE = 60.0


@dataclass
class Below:
    """The hubs below, as they answer GetMember."""

    statuses: dict[str, pb.ClusterStatus] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    callers: set[tuple[str, Role | None]] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    down: int = 0
    """So many calls fail."""

    async def forward(self, name: str, method: str, request: pb.GetMemberRequest, response: Any) -> Any:
        path = f"{name}/{request.path}"
        self.asked.append(path)
        self.callers.add((caller.get().name, caller.get().role))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.down:
            self.down -= 1
            raise Unavailable("the hub is not connected")
        return pb.GetMemberResponse(member=pb.Member(path=path, status=self.statuses[path]))


@dataclass
class Tree:
    """This hub, and what it is told."""

    store: Store
    inventory: Inventory
    clock: ManualClock
    below: Below
    members: Members
    told: list[str] = field(default_factory=list)

    async def join(self, name: str, kind: str = "agent", **row: Any) -> Child:
        await self.inventory.admit(ChildRow(name, kind, f"uid-{name}", session_epoch=1, **row))
        child = self.inventory.find(name)
        assert child is not None
        self.connect(child)
        return child

    def connect(self, child: Child) -> None:
        self.inventory.connected(child)
        child.connected_at = self.clock.monotonic()

    def line(self, hub: Child, path: str, kind: str = "AGENT", **fields: Any) -> pb.MemberLine:
        line = pb.MemberLine(
            kind=enrollment_pb2.ChildKind.Value(f"CHILD_KIND_{kind}"),
            **{"liveness": pb.LIVENESS_ONLINE, "cluster_uid": f"uid-{path}", **fields},
        )
        self.inventory.observed(hub, f"member/{path}", line.SerializeToString())
        return line

    def gone(self, hub: Child, path: str) -> None:
        self.inventory.observed(hub, f"member/{path}", None)

    def news(self) -> list[str]:
        """Look, and tell whose views changed."""
        self.members.refresh()
        news, self.told[:] = list(self.told), []
        return sorted(news)

    def view(self, path: str) -> MemberView:
        found = self.members.get(path)
        assert found is not None
        return found


@asynccontextmanager
async def tree(folder: Folder, own_path: str = "/") -> AsyncIterator[Tree]:
    store = await open_store(folder / "hub.db")
    inventory = Inventory(store, Journal(store, 100), Terms(10.0, 40.0, 60.0))
    inventory.stand_at(Path.parse(own_path))
    clock = ManualClock(1000.0)
    below = Below()
    members = Members(inventory, below, clock=clock, wall=lambda: 0.0, grace=GRACE)
    it = Tree(store, inventory, clock, below, members)
    members.on_change(it.told.append)
    yield it
    await store.close()


def report(tree: Tree, child: Child, free: int = 8, **status: Any) -> None:
    row = sketch([NodeGpus("n", H100, 8, 8, 8 - free)], {})[H100]
    tree.inventory.observed(child, "sketch/h", sketch_to_wire(H100, row).SerializeToString())
    told = pb.ClusterStatus(**{"api_healthy": True, "kubernetes_version": "v1.36.0", **status})
    tree.inventory.observed(child, "status", told.SerializeToString())
