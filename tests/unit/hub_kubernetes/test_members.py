"""The member directory: members at any depth, their facts, and who is gone for certain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as Folder
from typing import Any

import pytest

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
from arbora_hub.inventory.facts import digest_of, facts_of
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness, Terms
from arbora_hub.journal import Journal
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.view import MemberView
from arbora_hub.store.opening import open_store
from arbora_hub.store.rows import ChildRow
from tests.support.eventually import eventually

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
    it = Tree(inventory, clock, below, members)
    members.on_change(it.told.append)
    yield it
    await store.close()


@pytest.fixture
async def root(tmp_path: Folder) -> AsyncIterator[Tree]:
    async with tree(tmp_path) as it:
        yield it


def report(tree: Tree, child: Child, free: int = 8, **status: Any) -> None:
    row = sketch([NodeGpus("n", H100, 8, 8, 8 - free)], {})[H100]
    tree.inventory.observed(child, "sketch/h", sketch_to_wire(H100, row).SerializeToString())
    told = pb.ClusterStatus(**{"api_healthy": True, "kubernetes_version": "v1.36.0", **status})
    tree.inventory.observed(child, "status", told.SerializeToString())


async def test_a_member_of_this_hub_is_there_with_what_it_reported(root: Tree) -> None:
    child = await root.join("a", labels={"gpu": "h100"}, cordoned=True)
    assert root.news() == ["/a"]
    assert root.view("/a").api_healthy is None
    report(root, child, free=3)
    assert root.news() == ["/a"]
    view = root.view("/a")
    assert (view.labels, view.cordoned, view.cluster_uid) == ({"gpu": "h100"}, True, "uid-a")
    assert (view.api_healthy, view.liveness) == (True, Liveness.ONLINE)
    assert view.facts is not None
    assert view.digest == digest_of(view.facts)
    assert [(one.gpu_class, one.total) for one in view.gpus] == [(H100, 8)]
    report(root, child, free=3)
    assert root.news() == []
    await root.inventory.evict(child)
    assert root.news() == ["/a"]
    assert root.members.get("/a") is None
    assert root.members.unsure("/a") is None


async def test_members_below_hubs_have_the_labels_of_the_hubs_between(root: Tree) -> None:
    eu = await root.join("eu", "hub", labels={"region": "eu", "tier": "gold"})
    root.line(eu, "paris/edge", labels={"tier": "iron"})
    assert root.news() == []
    root.line(eu, "paris", "HUB", labels={"city": "paris"}, cordoned=True)
    assert root.news() == ["/eu/paris/edge"]
    view = root.view("/eu/paris/edge")
    assert view.labels == {"region": "eu", "tier": "iron", "city": "paris"}
    assert (view.relative, view.cordoned) == ("eu/paris/edge", True)
    root.line(eu, "paris", "HUB", labels={"city": "lyon"})
    assert root.news() == ["/eu/paris/edge"]
    assert root.view("/eu/paris/edge").labels["city"] == "lyon"
    assert [one.path for one in root.members] == ["/eu/paris/edge"]


async def test_paths_are_from_the_root_also_after_a_move(tmp_path: Folder) -> None:
    async with tree(tmp_path, "/eu") as it:
        it.inventory.inherit({"region": "eu"})
        await it.join("a")
        assert it.news() == ["/eu/a"]
        assert it.view("/eu/a").labels == {"region": "eu"}
        it.inventory.stand_at(Path.parse("/us"))
        it.inventory.inherit({"region": "us"})
        it.members.stand_elsewhere()
        assert it.news() == ["/eu/a", "/us/a"]
        assert it.members.get("/eu/a") is None
        assert it.view("/us/a").labels == {"region": "us"}


async def test_a_member_is_no_more_present_than_the_hubs_between(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    root.line(eu, "edge")
    root.news()
    root.inventory.disconnected(eu, "the stream was lost")
    assert root.news() == ["/eu/edge"]
    assert root.view("/eu/edge").liveness is Liveness.SUSPECT


async def test_of_a_cluster_in_two_places_one_counts(root: Tree) -> None:
    eu, us = await root.join("eu", "hub"), await root.join("us", "hub")
    root.line(eu, "edge", cluster_uid="one")
    root.line(us, "edge", cluster_uid="one")
    root.news()
    assert [one.path for one in root.members] == ["/eu/edge"]


async def test_facts_are_asked_for_once_for_each_digest(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    status = pb.ClusterStatus(kubernetes_version="v1.36.0", reachable=True)
    root.below.statuses["eu/edge"] = status
    running = asyncio.create_task(root.members.run())
    root.line(eu, "edge", facts=digest_of(facts_of(status)), api_healthy=True)
    root.news()
    await eventually(lambda: root.news() or root.view("/eu/edge").facts is not None, "the facts are there")
    root.members.refresh()
    assert root.view("/eu/edge").facts == facts_of(status)
    assert root.below.callers == {("kubernetes/profiles", Role.VIEWER)}
    root.line(eu, "edge", facts=digest_of(facts_of(status)), api_healthy=False)
    root.news()
    await asyncio.sleep(0)
    assert root.below.asked == ["eu/edge"]
    changed = pb.ClusterStatus(kubernetes_version="v1.37.0")
    root.below.statuses["eu/edge"] = changed
    root.line(eu, "edge", facts=digest_of(facts_of(changed)))
    root.news()
    assert root.view("/eu/edge").facts == facts_of(status), "the last known ones, until there are others"
    await eventually(lambda: root.news() or root.view("/eu/edge").facts == facts_of(changed), "the other facts")
    running.cancel()
    await asyncio.wait([running])


async def test_many_facts_are_asked_for_a_few_at_a_time_and_again_after_a_failure(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    root.below.down = 3
    for number in range(50):
        root.below.statuses[f"eu/m{number}"] = pb.ClusterStatus(kubernetes_version="v1")
        root.line(eu, f"m{number}", facts=b"digest")
    running = asyncio.create_task(root.members.run())
    root.news()

    def all_there() -> bool:
        root.clock.advance(1.0)
        root.news()
        return all(view.facts is not None for view in root.members)

    await eventually(all_there, "all facts are there")
    assert len(root.members) == 50
    assert root.below.most_at_once <= 8
    assert len(root.below.asked) == 53
    running.cancel()
    await asyncio.wait([running])


async def test_a_member_that_vanished_below_a_hub_may_come_back_for_a_while(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    root.line(eu, "edge")
    root.news()
    root.clock.advance(2 * GRACE)
    root.gone(eu, "edge")
    assert root.news() == ["/eu/edge"]
    assert root.members.get("/eu/edge") is None
    assert root.members.unsure("/eu/edge") is Liveness.SUSPECT
    root.clock.advance(GRACE)
    assert root.members.unsure("/eu/edge") is None


async def test_below_a_hub_that_is_not_present_nobody_is_gone_for_certain(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    root.line(eu, "paris", "HUB")
    root.news()
    root.inventory.disconnected(eu, "the stream was lost")
    root.news()
    root.clock.advance(5 * GRACE)
    assert root.members.unsure("/eu/paris/edge") is Liveness.SUSPECT
    root.connect(eu)
    root.news()
    assert root.members.unsure("/eu/paris/edge") is Liveness.SUSPECT
    root.clock.advance(GRACE)
    assert root.members.unsure("/eu/paris/edge") is None
    root.line(eu, "paris", "HUB", liveness=pb.LIVENESS_LOST)
    root.news()
    root.clock.advance(5 * GRACE)
    assert root.members.unsure("/eu/paris/edge") is Liveness.LOST


async def test_a_hub_that_was_away_for_a_moment_has_its_time_again(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    root.news()
    root.clock.advance(2 * GRACE)
    assert root.members.unsure("/eu/edge") is None
    root.inventory.disconnected(eu, "the stream was lost")
    root.connect(eu)
    root.news()
    assert root.members.unsure("/eu/edge") is Liveness.SUSPECT


async def test_what_no_hub_of_this_one_could_know_is_not_there(root: Tree) -> None:
    await root.join("a")
    eu = await root.join("eu", "hub")
    root.news()
    for path in ("/x", "/x/y", "/a/below", "nonsense//", "/", "/eu"):
        assert root.members.unsure(path) is None, path
    root.inventory.disconnected(eu, "it went to another parent", moved=True)
    root.news()
    assert root.members.unsure("/eu/edge") is None


async def test_a_hub_that_sends_no_lines_has_no_members_here(root: Tree) -> None:
    eu = await root.join("eu", "hub")
    told = pb.ClusterStatus(subtree=pb.SubtreeStatus(members=3, lines=False))
    root.inventory.observed(eu, "status", told.SerializeToString())
    assert root.news() == []
    assert len(root.members) == 0
