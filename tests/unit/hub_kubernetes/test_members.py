"""The member directory: members at any depth, their facts, and who is gone for certain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path as Folder

import pytest

from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.facts import digest_of, facts_of
from arbora_hub.inventory.liveness import Liveness
from tests.support.directory import GRACE, H100, Tree, report, tree
from tests.support.eventually import eventually


@pytest.fixture
async def root(tmp_path: Folder) -> AsyncIterator[Tree]:
    async with tree(tmp_path) as it:
        yield it


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
