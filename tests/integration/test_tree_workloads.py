"""Workloads in a tree of hubs: budgets down, parts and shortfalls up, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from arbora.errors import Conflict, InvalidInput
from arbora.manifests.selectors import parse_selector
from arbora.secret import Secret
from arbora.v1 import enrollment_pb2, workload_pb2
from arbora_hub.inventory.liveness import Liveness
from tests.support import placing
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, ports_of, running_agent, running_hub

EVERYWHERE = parse_selector("")
AVAILABLE = workload_pb2.WORKLOAD_STATE_AVAILABLE
NODE = 8
"""GPUs of a simulated node; a pod below asks for all of them."""


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """Each pod takes a whole node."""
    return placing.deployment(name, replicas, NODE)


class Tree:
    """Hubs and agents that run until the test ends."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder

    async def root(self, name: str = "root", **settings: Any) -> RunningHub:
        return await self._stack.enter_async_context(running_hub(self._folder / name, **settings))

    async def hub(self, parent: RunningHub, name: str, **settings: Any) -> RunningHub:
        made = await parent.admin.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB)
        token = Secret(made.token)
        below = running_hub(
            self._folder / name, parent=parent.hub.join_address, join_token=token, name=name, **settings
        )
        hub = await self._stack.enter_async_context(below)
        await parent.until(name, Liveness.ONLINE)
        return hub

    async def silent_hub(self, parent: RunningHub, name: str, nodes: int) -> RunningHub:
        """A hub with one member, edge-1, that says what it has when it joins and then no more for minutes."""
        hub = await self.root(name, coalesce_seconds=600.0)
        await self.agent(hub, "edge-1", nodes)
        made = await parent.admin.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB)
        await hub.hub.uplink.move(parent.hub.join_address, made.token)
        await until_free(parent, name, nodes)
        return hub

    async def agent(self, hub: RunningHub, name: str, nodes: int, **labels: str) -> None:
        fleet = f"{nodes}x{NODE}xH100"
        agent = running_agent(hub, self._folder / "agents", name, fleet, labels=labels)
        await self._stack.enter_async_context(agent)
        await hub.until(name, Liveness.ONLINE)
        await hub.until_reported(name)


@asynccontextmanager
async def tree(folder: Path) -> AsyncIterator[Tree]:
    async with AsyncExitStack() as stack:
        yield Tree(stack, folder)


async def divide(hub: RunningHub, name: str, replicas: int) -> None:
    """Submit pods that go wherever there is room."""
    await hub.admin.workloads.apply(
        name, [deployment(name, replicas)], selector=EVERYWHERE, placement={"division": {"mode": "available"}}
    )


async def until_free(hub: RunningHub, child: str, nodes: int) -> None:
    """Until the hub sees so many free nodes in or below a child."""

    async def seen() -> bool:
        member = await hub.admin.members.get(child)
        return sum(row.free for sketch in member.sketches for row in sketch.rows) == nodes * NODE

    await eventually(seen, f"{nodes} free nodes in {child}")


async def until_placed(hub: RunningHub, name: str, **parts: int) -> None:
    """Until a workload runs with these replicas; `eu__edge_1` stands for /eu/edge-1."""
    wanted = {f"/{path.replace('__', '/').replace('_', '-')}": count for path, count in parts.items()}

    async def placed() -> bool:
        workload = await hub.admin.workloads.get(name)
        found = {
            part.path: part.replicas
            for part in workload.assignments
            if part.status.state == AVAILABLE and not part.withdrawn
        }
        return wanted.items() <= found.items()

    await eventually(placed, f"{name} at {wanted}")


async def test_a_workload_is_divided_over_three_levels_and_seen_part_by_part(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.hub(root, "eu")
        paris = await grown.hub(eu, "paris")
        await grown.agent(root, "near", 1)
        await grown.agent(eu, "edge-1", 1)
        await grown.agent(paris, "edge-7", 2)
        await until_free(root, "eu", 3)
        assert str(paris.hub.inventory.own_path) == "/eu/paris"
        await divide(root, "train", 4)
        await until_placed(root, "train", near=1, eu=3, eu__edge_1=1, eu__paris__edge_7=2)
        workload = await root.admin.workloads.get("train")
        assert (workload.state, workload.pending) == (AVAILABLE, 0)
        (below,) = paris.hub.workloads
        assert below.row.from_parent
        with pytest.raises(Conflict, match="the hub above assigned"):
            await paris.admin.workloads.delete(below.row.name)
        await root.admin.workloads.delete("train")
        await eventually(lambda: not any(len(hub.hub.workloads) for hub in (root, eu, paris)), "all are gone")


async def test_labels_paths_and_hubs_are_all_ways_to_name_a_member_below(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.hub(root, "eu")
        await grown.agent(eu, "edge-1", 1, zone="a")
        await grown.agent(eu, "edge-2", 1, zone="b")
        await grown.agent(root, "near", 1, zone="b")
        await until_free(root, "eu", 2)
        apply = root.admin.workloads.apply
        await apply("by-path", [deployment("by-path", 1)], members=["/eu/edge-2"])
        await until_placed(root, "by-path", eu__edge_2=1)
        await apply("by-label", [deployment("by-label", 1)], selector=parse_selector("zone=a"))
        await until_placed(root, "by-label", eu__edge_1=1)
        with pytest.raises(InvalidInput, match="is a member and no hub"):
            await apply("wrong", [deployment("wrong", 1)], members=["/near/edge-2"])


async def test_what_a_hub_can_not_place_is_divided_over_the_others(tmp_path: Path) -> None:
    """The root's view of eu is old: meanwhile eu has given its GPUs away by itself."""
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.silent_hub(root, "eu", 2)
        us = await grown.hub(root, "us")
        await divide(eu, "own", 2)
        await until_placed(eu, "own", eu__edge_1=2)
        await divide(root, "train", 2)
        await eventually(lambda: root.hub.workloads.get("train").pending == 2, "eu has said that it can't")
        await grown.agent(us, "edge-2", 3)
        await until_placed(root, "train", us__edge_2=2)


async def test_a_hub_that_restarts_keeps_what_its_parent_assigned(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        made = await root.admin.join_tokens.create("eu", kind=enrollment_pb2.CHILD_KIND_HUB)
        token = Secret(made.token)
        join = {"parent": root.hub.join_address, "join_token": token, "name": "eu"}
        async with running_hub(tmp_path / "eu", **join) as eu:
            ports = ports_of(eu)
            await grown.agent(eu, "edge-1", 2)
            await until_free(root, "eu", 2)
            await divide(root, "train", 2)
            await until_placed(root, "train", eu__edge_1=2)
            (before,) = [record.row for record in eu.hub.workloads]
        async with running_hub(tmp_path / "eu", **ports) as eu:
            assert [record.row for record in eu.hub.workloads] == [before]
            await root.until("eu", Liveness.ONLINE)
            await until_placed(root, "train", eu__edge_1=2)
            await divide(root, "train", 1)
            await until_placed(root, "train", eu__edge_1=1)
            assert [record.row.uid for record in eu.hub.workloads] == [before.uid]


async def test_a_hub_that_leaves_gives_back_what_its_parent_assigned_and_keeps_its_own(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.hub(root, "eu")
        await grown.agent(eu, "edge-1", 2)
        await until_free(root, "eu", 2)
        await eu.admin.workloads.apply("own", [deployment("own", 1)], members=["edge-1"])
        await root.admin.workloads.apply("train", [deployment("train", 1)], members=["eu"])
        await until_placed(root, "train", eu__edge_1=1)
        await eu.hub.uplink.detach()
        await eventually(lambda: [one.row.name for one in eu.hub.workloads] == ["own"], "only its own is left")
        assert str(eu.hub.inventory.own_path) == "/"
        await until_placed(eu, "own", edge_1=1)


async def test_copies_of_a_workload_go_to_as_many_members_as_asked_for(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.hub(root, "eu")
        for number in range(3):
            await grown.agent(eu, f"edge-{number}", 1)
        await until_free(root, "eu", 3)
        await root.admin.workloads.apply(
            "twice", [deployment("twice", 1)], selector=EVERYWHERE, placement={"clusters": 2}
        )

        async def copies() -> int:
            parts = (await root.admin.workloads.get("twice")).assignments
            return sum(part.path.startswith("/eu/") and part.status.state == AVAILABLE for part in parts)

        async def two() -> bool:
            return await copies() == 2

        await eventually(two, "two members of eu run it")
        assert root.hub.workloads.get("twice").pending == 0


async def test_a_gang_is_sent_once_every_hub_on_its_way_keeps_room_for_all_of_it(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.hub(root, "eu")
        paris = await grown.hub(eu, "paris")
        await grown.agent(eu, "edge-1", 1)
        await grown.agent(paris, "edge-7", 2)
        await until_free(root, "eu", 3)
        await root.admin.workloads.apply("ring", [placing.gang("ring", 4, NODE // 2)], selector=EVERYWHERE)
        (record,) = root.hub.workloads
        assert record.request().demand.gang
        await eventually(lambda: "edge-7" in _children(paris), "all of it is at edge-7")
        assert (_children(root), _children(eu)) == ({"eu": 4}, {"paris": 4})
        await eventually(lambda: not _questions(root) and not _questions(eu), "no room is kept any more")


async def test_a_gang_that_a_hub_has_no_room_for_after_all_goes_to_another(tmp_path: Path) -> None:
    """The root's view of eu is old; nothing of the gang is ever sent there."""
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.silent_hub(root, "eu", 2)
        await divide(eu, "own", 1)
        await until_placed(eu, "own", eu__edge_1=1)
        us = await grown.hub(root, "us")
        await root.admin.workloads.apply("ring", [placing.gang("ring", 4, NODE // 2)], selector=EVERYWHERE)
        await eventually(lambda: root.hub.workloads.get("ring").pending == 4, "eu keeps no room for it")
        assert _children(root) == {}
        await grown.agent(us, "edge-2", 2)
        await eventually(lambda: _children(us) == {"edge-2": 4}, "it goes to us")
        assert [one.row.name for one in eu.hub.workloads] == ["own"]


async def test_a_hub_that_does_not_answer_costs_a_gang_one_timeout(tmp_path: Path) -> None:
    async with tree(tmp_path) as grown:
        root = await grown.root()
        eu = await grown.hub(root, "eu")
        us = await grown.hub(root, "us")
        await grown.agent(eu, "edge-1", 4)
        await grown.agent(us, "edge-2", 2)
        await until_free(root, "eu", 4)
        await until_free(root, "us", 2)
        eu.hub.uplink.observe("reservation", lambda key, value: None)
        await root.admin.workloads.apply(
            "ring", [placing.gang("ring", 4, NODE // 2)], members=["eu", "us"], placement={"clusters": 1}
        )
        await eventually(lambda: _children(root) == {"us": 4}, "us takes it after all")
        assert len(eu.hub.workloads) == 0


def _children(hub: RunningHub) -> dict[str, int]:
    """Replicas by child, of all workloads together."""
    return {name: part.replicas for record in hub.hub.workloads for name, part in record.bound.items()}


def _questions(hub: RunningHub) -> list[str]:
    return [
        name for record in hub.hub.workloads for name in hub.hub.workloads.keeping.gangs.waiting(record.row.uid)
    ]
