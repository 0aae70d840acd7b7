"""Real processes, three levels: a hub in the middle is killed, the root stopped; no work is lost or run twice."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from arbora.client import HubClient
from arbora.errors import ArboraError
from tests.support.eventually import eventually
from tests.support.hub import job
from tests.support.placing import EVERYWHERE, ONE
from tests.support.processes import AgentProcess, Daemon, HubProcess, processes
from tests.support.tree import child_hub, known, member_of, parts, until_known

pytestmark = pytest.mark.faults

GPUS = 16
"""Of each of the two members."""
KILLS = 3
WORKLOADS = 18
SECONDS = 20.0


@dataclass
class Tree:
    """root -> middle -> below, and root -> beside."""

    root: HubProcess
    middle: HubProcess
    agents: tuple[AgentProcess, ...]
    at_root: HubClient
    at_middle: HubClient

    @property
    def all(self) -> tuple[Daemon, ...]:
        return self.root, self.middle, *self.agents


@asynccontextmanager
async def tree(folder: Path) -> AsyncIterator[Tree]:
    """It begins once the root knows all GPUs."""
    async with processes() as started, AsyncExitStack() as stack:
        root = HubProcess(folder, folder / "root")
        started.append(root)
        await root.start()
        at_root = await stack.enter_async_context(root.admin())
        middle = await child_hub(folder, "middle", at_root, root.join_address, HubProcess)
        beside = await member_of(folder, "beside", at_root, root.join_address, AgentProcess)
        started += [middle, beside]
        await middle.start()
        await beside.start()
        at_middle = await stack.enter_async_context(middle.admin())
        below = await member_of(folder, "below", at_middle, middle.join_address, AgentProcess)
        started.append(below)
        await below.start()
        found = Tree(root, middle, (below, beside), at_root, at_middle)
        await until_known(at_root, {"middle": (0, GPUS), "beside": (0, GPUS)})
        yield found
        assert "Traceback" not in "".join(one.said() for one in found.all)


@pytest.mark.timeout(80)  # on a busy machine; hubs and members back off for seconds after each kill
async def test_each_workload_ends_placed_once_while_the_hub_in_the_middle_is_killed(tmp_path: Path) -> None:
    chance = random.Random(11)
    async with tree(tmp_path) as it:
        names = [f"w{number}" for number in range(WORKLOADS)]

        async def submit(some: list[str]) -> None:
            for name in some:
                await it.at_root.workloads.apply(name, [job(name)], selector=EVERYWHERE, placement=ONE)

        for number in range(KILLS):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(submit(names[number::KILLS]))
                # some of them are under way when it dies, some come while it is away
                await it.middle.runs_for(chance.uniform(0.0, 0.05))
                await it.middle.kill()
                await it.middle.start()
                await it.middle.until_answers(it.at_middle)

        leaves = (["/middle/below"], ["/beside"])

        async def elsewhere() -> dict[str, list[str]]:
            found = {name: list(await parts(it.at_root, name)) for name in names}
            return {name: where for name, where in found.items() if where not in leaves}

        async def once_each() -> bool:
            return not await elsewhere()

        try:
            await eventually(once_each, "each is placed on one member", SECONDS)
        except AssertionError as error:
            raise AssertionError(f"not placed on one member: {await elsewhere()}") from error
        inside = sum([list(await parts(it.at_root, name)) == ["/middle/below"] for name in names])
        assert 0 < inside < WORKLOADS
        expected = {
            "middle": (inside, GPUS - inside),
            "beside": (WORKLOADS - inside, GPUS - WORKLOADS + inside),
        }
        await until_known(it.at_root, expected, SECONDS)  # no orphan, no duplicate: each takes one GPU
        await until_known(it.at_middle, {"below": expected["middle"]}, SECONDS)
        mirrored = [one async for one in it.at_middle.workloads.list()]
        assert len(mirrored) == inside


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_subtree_goes_on_while_its_root_is_away_and_keeps_what_it_was_given(
    tmp_path: Path, how: signal.Signals
) -> None:
    async with tree(tmp_path) as it:
        for number in range(4):
            name = f"given-{number}"
            await it.at_root.workloads.apply(name, [job(name)], members=["/middle/below"])
        await until_known(it.at_root, {"middle": (4, GPUS - 4)})
        it.root.signal(how)
        for number in range(3):
            name = f"own-{number}"
            await it.at_middle.workloads.apply(name, [job(name)], selector=EVERYWHERE, placement=ONE)
        await until_known(it.at_middle, {"below": (7, GPUS - 7)})
        assert len([one async for one in it.at_middle.workloads.list()]) == 7
        if how is signal.SIGSTOP:
            it.root.signal(signal.SIGCONT)
        else:
            await it.root.ended()
            await it.root.start()
        await it.root.until_answers(it.at_root)
        await until_known(it.at_root, {"middle": (7, GPUS - 7)}, 2 * SECONDS)

        async def all_fresh() -> bool:
            found = [await parts(it.at_root, f"given-{number}") for number in range(4)]
            return all(one == {"/middle/below": 1} for one in found)

        await eventually(all_fresh, "the root knows what it gave", SECONDS)
        assert await known(it.at_middle, "below") == (7, GPUS - 7)
        try:
            await it.at_root.workloads.get("own-0")
        except ArboraError as error:
            assert "own-0" in str(error)
        else:
            raise AssertionError("what was submitted in the middle is not the root's")
