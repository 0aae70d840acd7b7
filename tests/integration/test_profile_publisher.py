"""The publisher of ClusterProfiles in time that passes by hand, over an API server in memory."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.discovery import Resource
from arbora.kubernetes.failures import ClusterUnavailable
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.facts import digest_of, facts_of
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.conditions import by_key
from arbora_hub.kubernetes.kinds import CLUSTER_PROFILE, FLEET, NAMESPACE
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.kubernetes.profiles.content import Surroundings
from arbora_hub.kubernetes.profiles.kept import KeptNames
from arbora_hub.kubernetes.profiles.pacing import GAP_SECONDS
from arbora_hub.kubernetes.profiles.profiles import Profiles
from arbora_hub.kubernetes.profiles.publisher import Publisher
from tests.support.directory import GRACE, Tree, report, tree
from tests.support.eventually import eventually

STEP = 0.5
AROUND = Surroundings("arbora", "hub:7443", "hub:7447", b"CA\n")


@dataclass
class Stored:
    """Server-side apply in small: one manager, and a resource version that rises with every change."""

    tree: Tree
    fleets: Collection
    live: Collection
    namespaces: Collection
    version: int = 100
    writes: list[tuple[float, str]] = field(default_factory=list)
    """When, and of which profile; what changed nothing is no write."""
    down: bool = False

    async def apply(self, kind: Resource, body: Mapping[str, Any], **how: Any) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        if self.down:
            raise ClusterUnavailable("the API server can't be reached")
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        before = self.live.get(name, namespace)
        after: dict[str, Any] = copy.deepcopy(
            dict(before or {"metadata": {"uid": f"uid-{self.version}", "generation": 1}})
        )
        if how.get("subresource") == "status":
            after["status"] = copy.deepcopy(body["status"])
        else:
            after["metadata"] |= body["metadata"]
            after["spec"] = body["spec"]
        if after != before:
            self.put(after)
            self.writes.append((self.tree.clock.monotonic(), name))
        return self.live.get(name, namespace) or {}

    async def delete(self, kind: Resource, name: str, namespace: str = "", *, uid: str = "") -> bool:
        await asyncio.sleep(0)
        body = self.live.get(name, namespace)
        if body is None or body["metadata"]["uid"] != uid:
            return False
        self.live.remove(body)
        return True

    def put(self, body: dict[str, Any]) -> None:
        """Somebody writes."""
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.live.put(body)

    def names(self) -> set[str]:
        return {str(body["metadata"]["name"]) for body in self.live}

    def profile(self, name: str) -> dict[str, Any]:
        return copy.deepcopy(dict(self.live.get(name, "team") or {}))

    def health(self, name: str) -> str:
        conditions = by_key(self.profile(name).get("status", {}).get("conditions"), "type")
        return str(conditions.get("ControlPlaneHealthy", {}).get("status", ""))

    def property(self, name: str, key: str) -> str:
        return str(by_key(self.profile(name)["status"]["properties"], "name").get(key, {}).get("value", ""))

    def fleet(self, **spec: Any) -> None:
        self.version += 1
        metadata = {"name": "all", "uid": "f", "generation": 1, "resourceVersion": str(self.version)}
        self.fleets.put({"metadata": metadata, "spec": {"paths": ["/**"], "namespaces": ["team"], **spec}})


@dataclass
class Scene:
    tree: Tree
    stored: Stored
    profiles: Profiles

    async def passes(self, seconds: float) -> None:
        """Time, in small steps, in which everybody gets on with it."""
        for _ in range(int(seconds / STEP)):
            self.tree.clock.advance(STEP)
            await self.settled()

    async def settled(self) -> None:
        self.tree.members.refresh()
        for _ in range(20):
            await asyncio.sleep(0)


def stored_in(tree: Tree) -> Stored:
    api = cast(ApiServer, None)  # the collections are filled by the test
    it = Stored(tree, *(Collection(api, kind) for kind in (FLEET, CLUSTER_PROFILE, NAMESPACE)))
    it.namespaces.put({"metadata": {"name": "team", "resourceVersion": "1", "uid": "n"}})
    for one in (it.fleets, it.live, it.namespaces):
        one.filled.set()
    return it


@asynccontextmanager
async def publishing(tree: Tree, stored: Stored) -> AsyncIterator[Scene]:
    """One process of the hub."""
    profiles = Profiles("arbora", stored.fleets, stored.live, stored.namespaces, tree.members)
    publisher = Publisher(
        cast(Objects, stored),
        profiles,
        (stored.fleets, stored.live, stored.namespaces),
        lambda: AROUND,
        KeptNames(tree.store),
        clock=tree.clock,
        wall=tree.clock.monotonic,
    )
    running = asyncio.create_task(publisher.run())
    try:
        scene = Scene(tree, stored, profiles)
        if stored.fleets.filled.is_set():
            await asyncio.wait_for(profiles.ready.wait(), 5.0)
            await scene.settled()
        yield scene
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
async def root(tmp_path: Path) -> AsyncIterator[Tree]:
    async with tree(tmp_path) as it:
        yield it


def say(tree: Tree, child: Child, value: str, **status: Any) -> None:
    report(tree, child, properties=[pb.ClusterProperty(name="count.example.org", value=value)], **status)


async def test_a_storm_of_changes_is_one_write_in_thirty_seconds_and_the_last_one_is_written(root: Tree) -> None:
    stored = stored_in(root)
    children = [await root.join(name) for name in ("a", "b", "c")]
    stored.fleet()
    async with publishing(root, stored) as scene:
        for number in range(600):
            for child in children:
                say(root, child, str(number))
            await scene.passes(STEP)
        last = {name: stored.property(name, "count.example.org") for name in ("a", "b", "c")}
        assert len(set(last.values())) == 1
        await scene.passes(GAP_SECONDS + 5.0)
        for name in ("a", "b", "c"):
            # two writes make a profile: itself and its status
            times = [time for time, profile in stored.writes if profile == name][1:]
            assert len(times) <= 300.0 / GAP_SECONDS + 2
            assert all(after - before >= GAP_SECONDS for before, after in pairwise(times))
            assert stored.property(name, "count.example.org") == "599"


async def test_a_change_of_health_does_not_wait_once(root: Tree) -> None:
    stored = stored_in(root)
    child = await root.join("a")
    say(root, child, "0")
    stored.fleet()
    async with publishing(root, stored) as scene:
        await scene.passes(1.0)
        assert stored.health("a") == "True"
        say(root, child, "0", api_healthy=False)
        await scene.passes(2.0)
        assert stored.health("a") == "False"
        say(root, child, "0", api_healthy=True)
        await scene.passes(GAP_SECONDS - 5.0)
        assert stored.health("a") == "False"
        await scene.passes(5.0)
        assert stored.health("a") == "True"


async def test_while_the_api_server_is_away_nothing_is_lost(root: Tree) -> None:
    stored = stored_in(root)
    child = await root.join("a")
    say(root, child, "0")
    stored.fleet()
    stored.down = True
    async with publishing(root, stored) as scene:
        await scene.passes(60.0)
        fleet = scene.profiles.selection.fleets["all"]
        standing = scene.profiles.standing(fleet)
        assert standing is not None
        assert "can't be reached" in standing.failures[0]
        stored.down = False
        await scene.passes(40.0)
        assert stored.health("a") == "True"
        standing = scene.profiles.standing(fleet)
        assert standing is not None
        assert (standing.published, standing.failures) == (1, ())


async def test_a_new_process_writes_nothing_that_is_so(root: Tree, tmp_path: Path) -> None:
    stored = stored_in(root)
    a, eu = await root.join("a"), await root.join("eu", "hub")
    say(root, a, "0")
    status = pb.ClusterStatus(kubernetes_version="v1", api_healthy=True)
    root.below.statuses["eu/b"] = status
    root.line(eu, "b", facts=digest_of(facts_of(status)), api_healthy=True)
    stored.fleet()
    asking = asyncio.create_task(root.members.run())
    async with publishing(root, stored) as scene:
        await scene.passes(20.0)
        assert (stored.health("a"), stored.health("eu-b")) == ("True", "True")
    asking.cancel()
    await asyncio.wait([asking])
    before = list(stored.writes)
    async with publishing(root, stored) as scene:
        await scene.passes(120.0)
        assert stored.writes == before
        assert scene.profiles.path_of("team", "eu-b") == "/eu/b"


async def test_before_all_fleets_are_known_nothing_is_deleted(root: Tree) -> None:
    stored = stored_in(root)
    say(root, await root.join("a"), "0")
    stored.fleet()
    async with publishing(root, stored) as scene:
        await scene.passes(5.0)
    stored.fleets.filled.clear()
    fleet = stored.fleets.get("all")
    assert fleet is not None
    stored.fleets.remove(fleet)
    async with publishing(root, stored) as scene:
        await scene.passes(120.0)
        assert stored.names() == {"a"}
        stored.fleets.filled.set()
        await eventually(lambda: not stored.names(), "nothing wants it")


async def test_a_member_below_a_hub_that_is_away_keeps_its_profile(root: Tree) -> None:
    stored = stored_in(root)
    eu = await root.join("eu", "hub")
    root.line(eu, "b")
    stored.fleet()
    async with publishing(root, stored) as scene:
        await scene.passes(15.0)
        assert stored.names() == {"eu-b"}
        root.inventory.disconnected(eu, "the stream was lost")
        root.gone(eu, "b")
        await scene.passes(10 * GRACE)
        assert stored.names() == {"eu-b"}
        root.connect(eu)
        await scene.passes(GRACE - 5.0)
        assert stored.names() == {"eu-b"}
        await scene.passes(15.0)
        assert stored.names() == set()
        assert scene.profiles.path_of("team", "eu-b") is None


async def test_a_fleet_that_is_wrong_takes_nothing_back_and_health_goes_on(root: Tree) -> None:
    stored = stored_in(root)
    child = await root.join("a")
    say(root, child, "0")
    stored.fleet()
    async with publishing(root, stored) as scene:
        await scene.passes(GAP_SECONDS + 5.0)
        stored.fleet(paths=["/**/wrong"])
        await scene.passes(1.0)
        say(root, child, "0", api_healthy=False)
        await scene.passes(2.0)
        assert stored.health("a") == "False"
        stored.fleet(paths=["/eu/**"])
        await scene.passes(1.0)
        assert stored.names() == set()


async def test_somebody_elses_profile_is_never_touched(root: Tree) -> None:
    stored = stored_in(root)
    theirs = {
        "metadata": {"name": "a", "namespace": "team", "uid": "t"},
        "spec": {"clusterManager": {"name": "ocm"}},
    }
    stored.put(theirs)
    say(root, await root.join("a"), "0")
    stored.fleet()
    async with publishing(root, stored) as scene:
        # the decision about its name is stored before it is written
        (ours,) = await eventually(lambda: stored.names() - {"a"}, "ours is there")
        assert scene.profiles.path_of("team", "a") is None
        assert scene.profiles.path_of("team", ours) == "/a"
        await root.inventory.evict(next(iter(root.inventory)))
        await scene.passes(5.0)
        assert stored.names() == {"a"}
        assert stored.profile("a") == theirs


async def test_annotations_that_users_write_never_say_whom_a_profile_stands_for(root: Tree) -> None:
    stored = stored_in(root)
    for name in ("a", "b"):
        say(root, await root.join(name), "0")
    stored.fleet()
    async with publishing(root, stored) as scene:
        await scene.passes(GAP_SECONDS + 5.0)
        edited = stored.profile("a")
        edited["metadata"]["annotations"]["arbora.dev/path"] = "/b"
        stored.put(edited)
        assert scene.profiles.path_of("team", "a") == "/a"
        await scene.passes(GAP_SECONDS + 5.0)
        assert stored.profile("a")["metadata"]["annotations"]["arbora.dev/path"] == "/a"
    edited["metadata"]["annotations"]["arbora.dev/path"] = "/b"
    stored.put(edited)
    async with publishing(root, stored) as scene:
        assert scene.profiles.path_of("team", "a") == "/a"
        assert scene.profiles.path_of("team", "b") == "/b"
