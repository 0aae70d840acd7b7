"""A middle hub dies again and again while workloads are placed: part `kill`.

    root -- mid -- low -- two members        submissions at the root, at random moments
         |      \\- a member                  mid: SIGKILL at a random moment, started again at once
         \\- side -- a member                 in the end: where is each Job, and was it ever in two members?

Every hub is a process; the members' agents are real and run in this one, on simulated clusters that are watched
all the time. Random moments come from a fixed seed, though what they hit does not.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arbora.client import HubClient
from arbora.errors import DeadlineExceeded
from arbora.v1 import member_pb2, workload_pb2
from arbora.workloads.model import State
from arbora.workloads.wire import STATE_TO_WIRE
from arbora_agent.cluster.simulated import Simulation
from arbora_agent.cluster.simulated.objects import Key
from bench.jobs import submit
from bench.leaf import leaf
from bench.processes import HubProcess, scratch
from bench.report import Report
from bench.tree_hubs import Node, below, root
from bench.watching import Seen, gpu_rows, schedulable, seen_members, seen_workloads

KILLS = 100
WORKLOADS = 200
FLEET, BLOCKS = "80x8xH100", 80
MID, SIDE = "/mid", "/side"
BELOW_MID, BELOW_SIDE = 3, 1
"""Members; any three of the four could take all workloads."""
KILL_WITHIN, SUBMIT_WITHIN = 1.5, 2.0
"""Seconds: when mid dies after it has answered; over which the submissions of a round are spread."""
WAIT_SECONDS = 60.0
SETTLE_SECONDS = 180.0
_RUNS = frozenset(STATE_TO_WIRE[state] for state in (State.AVAILABLE, State.PROGRESSING))


@dataclass(slots=True)
class Sightings:
    """Every Job that was ever in a member."""

    ever: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Its name -> the members in which it was created, in their order; twice if it was created anew."""
    together: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Those that were created in one member while they were in another: where they were, where they came."""
    _here: dict[tuple[str, str], str] = field(default_factory=dict)
    """(member, name) -> uid of the object that is there now."""

    def follow(self, member: str, simulation: Simulation) -> None:
        """Note what comes into a member from now on."""

        def changed(keys: Sequence[Key]) -> None:
            for key in keys:
                if key.kind == "Job":
                    self._seen(member, key.name, simulation.get(key))

        simulation.watch(changed)

    def _seen(self, member: str, name: str, body: Mapping[str, Any] | None) -> None:
        if body is None:
            self._here.pop((member, name), None)
            return
        uid = body["metadata"]["uid"]
        if self._here.get((member, name)) == uid:
            return
        for other in set(self.ever[name]) - {member}:
            if (other, name) in self._here:
                self.together[name] = (other, member)
        self._here[member, name] = uid
        self.ever[name].append(member)


@dataclass(frozen=True, slots=True)
class Scene:
    """The tree, and everything that looks at it."""

    client: HubClient
    """Of the root."""
    mid: HubProcess
    workloads: Seen[workload_pb2.Workload]
    members: Mapping[str, Simulation]
    sightings: Sightings


async def run(report: Report) -> None:
    """Kill, wait until all has settled, count, withdraw, count again."""
    async with AsyncExitStack() as stack:
        report.say("kill: four hubs and four agents start")
        scene = await _scene(stack, stack.enter_context(scratch()))
        begun = time.perf_counter()
        await _kills(report, scene)
        killed = time.perf_counter()
        await _until_settled(report, scene)
        settled = time.perf_counter() - killed
        now = _jobs(scene)
        for name, (was, came) in sorted(scene.sightings.together.items()):
            report.say(f"kill: {name} came to {came} while it was in {was}")
        for name, where in sorted(scene.sightings.ever.items()):
            if len(where) > 1:
                report.say(f"kill: {name} was created in {', then '.join(where)}")
        await _withdraw(scene)
        left = sum(len(each) for each in _jobs(scene).values())
    how = (
        f"{WORKLOADS} 8-GPU Jobs submitted at the root while the hub between it and three of four members was "
        f"killed (SIGKILL) and started again {KILLS} times in {killed - begun:.0f} s, at random moments up to "
        f"{KILL_WITHIN:g} s after it answered again; counted in the simulated members"
    )
    behind = sum(not member.startswith("side") for each in now.values() for member in each)
    how += f"; {behind} of them stand behind the hub that was killed"
    exact, ever = WORKLOADS, scene.sightings.ever
    report.figure("kill.placed_once", sum(len(each) == 1 for each in now.values()), "Jobs", how, exactly=exact)
    report.figure(
        "kill.duplicates",
        sum(len(each) > 1 for each in now.values()),
        "Jobs",
        "in two members at the end",
        exactly=0,
    )
    report.figure(
        "kill.together",
        len(scene.sightings.together),
        "Jobs",
        "in two members at any moment on the way, however short; every member was watched all the time",
        exactly=0,
    )
    report.figure(
        "kill.created_again",
        sum(len(each) > 1 for each in ever.values()),
        "Jobs",
        "deleted in one member on the way and created in another, or again: moved, though nothing asked for it",
    )
    report.figure(
        "kill.orphans", left, "Jobs", "left in a member after all workloads were withdrawn and gone", exactly=0
    )
    report.figure(
        "kill.settled", settled, "s", "from the last restart until the root's watch shows all of them running"
    )


async def _scene(stack: AsyncExitStack, folder: Path) -> Scene:
    top = await root(stack, folder)
    mid = await below(stack, folder, top, "mid")
    low = await below(stack, folder, mid, "low")
    side = await below(stack, folder, top, "side")
    homes: dict[str, Node] = {"low-1": low, "low-2": low, "mid-1": mid, "side-1": side}
    members: dict[str, Simulation] = {}
    sightings = Sightings()
    for name, home in homes.items():
        members[name] = await stack.enter_async_context(leaf(folder, home.process, home.client, name, FLEET))
        sightings.follow(name, members[name])
    async with seen_members(top.client) as seen:
        await seen.until(
            lambda: _free(seen, MID) == 8 * BLOCKS * BELOW_MID and _free(seen, SIDE) == 8 * BLOCKS * BELOW_SIDE,
            WAIT_SECONDS,
        )
    workloads = await stack.enter_async_context(seen_workloads(top.client))
    return Scene(top.client, mid.process, workloads, members, sightings)


def _free(seen: Seen[member_pb2.Member], path: str) -> int:
    member = seen.now.get(path)
    return sum(row.free for row in gpu_rows([member])) if member is not None and schedulable(member) else -1


async def _kills(report: Report, scene: Scene) -> None:
    chance = random.Random(7)
    submitted = 0
    for number in range(KILLS):
        upto = WORKLOADS * (number + 1) // KILLS
        names = [f"job-{each}" for each in range(submitted, upto)]
        submitted = upto
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(_submitted(scene.client, name, chance.random() * SUBMIT_WITHIN))
            tasks.create_task(_killed(scene.mid, chance.random() * KILL_WITHIN))
        if (number + 1) % 10 == 0:
            report.say(f"kill: {number + 1} times dead, {submitted} submitted")


async def _submitted(client: HubClient, name: str, delay: float) -> None:
    await asyncio.sleep(delay)
    await submit(client, name)


async def _killed(hub: HubProcess, delay: float) -> None:
    await asyncio.sleep(delay)
    await hub.kill()
    await hub.start()
    await hub.answers()


async def _until_settled(report: Report, scene: Scene) -> None:
    def runs() -> bool:
        all_ = scene.workloads.now.values()
        return len(all_) == WORKLOADS and all(each.state in _RUNS and not each.pending for each in all_)

    report.say("kill: waiting until all of them run")
    try:
        await scene.workloads.until(runs, SETTLE_SECONDS)
    except DeadlineExceeded:
        not_yet = [each for each in scene.workloads.now.values() if each.state not in _RUNS or each.pending]
        report.say(f"kill: {len(not_yet)} of {len(scene.workloads.now)} don't run after {SETTLE_SECONDS:g} s")
        for each in not_yet[:5]:
            report.say(f"  {each.name}: {State(each.state).name}, {each.pending} pending, {each.message}")


def _jobs(scene: Scene) -> dict[str, list[str]]:
    """Members by the name of the Job that is there now."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for member, simulation in scene.members.items():
        for key in simulation.places():
            if key.kind == "Job":
                found[key.name].append(member)
    return found


async def _withdraw(scene: Scene) -> None:
    for name in list(scene.workloads.now):
        await scene.client.workloads.delete(name)
    await scene.workloads.until(lambda: not scene.workloads.now, SETTLE_SECONDS)
