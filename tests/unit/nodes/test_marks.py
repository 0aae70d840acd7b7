"""Taints and conditions on nodes: only what the member allows, until it is well again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from arbora.clock import LoopClock, ManualClock
from arbora.errors import InvalidInput
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node
from arbora_agent.cluster.port import CONDITION_TYPE
from arbora_agent.cluster.simulated import SimulatedCluster, SimulatedNode, Simulation
from arbora_agent.nodes.marks import RETRY_SECONDS, NodeMarks, mark_of, parse_marks
from tests.support.eventually import eventually

BOTH = frozenset({"taint", "condition"})


def node_of(health: Health) -> Node:
    return Node(devices=(Device("GPU-a", 0), Device("GPU-b", 1, health=health, reason="it is so")))


@pytest.mark.parametrize(
    ("health", "marked"),
    [
        (Health.HEALTHY, False),
        (Health.DEGRADED, False),
        (Health.RECOVERING, False),
        (Health.DRAINING, True),
        (Health.UNHEALTHY, True),
    ],
)
def test_a_node_is_marked_while_a_gpu_is_unhealthy_or_drains(health: Health, marked: bool) -> None:
    mark = mark_of(node_of(health), BOTH)
    assert (mark.taint, mark.condition) == (marked, marked)
    assert ("GPU 1 (GPU-b)" in mark.message) is marked


@pytest.mark.parametrize(
    ("allowed", "taint", "condition"),
    [(set(), None, None), ({"taint"}, True, None), ({"condition"}, None, True)],
)
def test_only_what_the_member_allows_is_touched(
    allowed: set[str], taint: bool | None, condition: bool | None
) -> None:
    mark = mark_of(node_of(Health.UNHEALTHY), frozenset(allowed))
    assert (mark.taint, mark.condition) == (taint, condition)


def test_nothing_else_can_be_allowed() -> None:
    assert parse_marks(("taint", "condition")) == BOTH
    with pytest.raises(InvalidInput, match="neither taint nor condition"):
        parse_marks(("cordon",))


class World:
    """A simulated node and the marks on it."""

    def __init__(self, allowed: frozenset[str], clock: ManualClock | None = None) -> None:
        self.simulation = Simulation("1x8xH100", clock=LoopClock())
        self.refused: list[tuple[str, str]] = []
        self.clock = clock or ManualClock()
        self.marks = NodeMarks(
            SimulatedCluster(self.simulation), allowed, lambda *what: self.refused.append(what), self.clock
        )

    @property
    def node(self) -> SimulatedNode:
        return self.simulation.nodes[0]


@asynccontextmanager
async def running(allowed: frozenset[str]) -> AsyncIterator[World]:
    world = World(allowed)
    task = asyncio.create_task(world.marks.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_mark_comes_and_goes_with_the_fault() -> None:
    async with running(BOTH) as world:
        world.marks.want("h100-0", node_of(Health.UNHEALTHY))
        await eventually(lambda: world.node.tainted, "tainted")
        assert world.node.conditions == ((CONDITION_TYPE, "True"),)
        world.marks.want("h100-0", node_of(Health.HEALTHY))
        await eventually(lambda: not world.node.tainted, "not tainted any more")
        assert world.node.conditions == ((CONDITION_TYPE, "False"),)


async def test_without_a_word_of_the_member_nothing_is_marked() -> None:
    async with running(frozenset()) as world:
        world.marks.want("h100-0", node_of(Health.UNHEALTHY))
        await asyncio.sleep(0)
        assert not world.node.tainted


async def test_a_mark_is_tried_again_while_the_api_server_is_away() -> None:
    async with running(BOTH) as world:
        world.simulation.fail_api()
        world.marks.want("h100-0", node_of(Health.UNHEALTHY))
        await eventually(lambda: world.clock.next_moment() == RETRY_SECONDS, "it waits")
        world.simulation.restore_api()
        world.clock.advance(RETRY_SECONDS)
        await eventually(lambda: world.node.tainted, "tainted")
        assert world.refused == []


async def test_a_refusal_is_told_and_not_tried_again() -> None:
    async with running(BOTH) as world:
        world.marks.want("no-such-node", node_of(Health.UNHEALTHY))
        await eventually(lambda: world.refused, "refused")
        world.marks.want("no-such-node", node_of(Health.UNHEALTHY))
        world.marks.want("h100-0", node_of(Health.UNHEALTHY))
        await eventually(lambda: world.node.tainted, "the others go on")
        assert world.refused == [("no-such-node", 'nodes "no-such-node" not found')]
