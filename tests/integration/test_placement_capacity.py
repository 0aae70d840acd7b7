"""How much goes where: division, bursts, gangs, freed GPUs, and what a restarted hub still knows of all that.

What is asserted of GPUs is what the simulated clusters count, not what the hub believes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from arbora.clock import ManualClock
from arbora.v1 import workload_pb2
from arbora_agent.cluster.simulated import Simulation
from arbora_hub.inventory.liveness import Liveness
from tests.support.hub import config_map, job, ports_of, running_agent, running_hub
from tests.support.placing import ONE, Fleet, deployment, fleet, gang, ref, shares

AVAILABLE = {"mode": "available"}
UNCHANGED = workload_pb2.APPLY_OUTCOME_UNCHANGED

DIVIDED: Mapping[str, tuple[dict[str, Any], int, dict[str, int]]] = {
    "available: by what is free": (AVAILABLE, 14, {"a": 8, "b": 4, "c": 2}),
    "spread: the same for each": ({"mode": "spread"}, 12, {"a": 4, "b": 4, "c": 4}),
    "spread: never above what is free": ({"mode": "spread"}, 20, {"a": 8, "b": 8, "c": 4}),
    "pack: the fewest members": ({"mode": "pack"}, 12, {"a": 12}),
    "weighted: by the weights of the rules": (
        {"mode": "weighted", "weights": [{"weight": 1, "member": "b"}, {"weight": 3, "member": "a"}]},
        9,
        {"a": 7, "b": 2},
    ),
}


@pytest.mark.parametrize("how", DIVIDED)
async def test_replicas_are_divided_and_each_member_runs_its_share(tmp_path: Path, how: str) -> None:
    division, replicas, wanted = DIVIDED[how]
    async with fleet(tmp_path, a="2x8xH100", b="1x8xH100", c="1x4xH100") as it:
        answer = await it.apply("serve", deployment("serve", replicas), division=division)
        assert shares(answer.workload) == wanted
        assert answer.workload.pending == 0
        await it.until("members have their share", lambda: it.replicas(ref("Deployment", "serve")) == wanted)
        await it.until("and run it", lambda: all(it.running(name) == count for name, count in wanted.items()))


async def test_what_is_placed_stays_and_only_the_delta_is_divided(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100") as it:
        await it.apply("serve", deployment("serve", 6), division=AVAILABLE)
        await it.until_shares("serve", {"a": 3, "b": 3})
        it.agents["a"].simulation.add_nodes("3x8xH100")
        await it.until_room("serve", {"a": 29, "b": 5})
        same = await it.apply("serve", deployment("serve", 6), division=AVAILABLE)
        assert (same.outcome, shares(same.workload)) == (UNCHANGED, {"a": 3, "b": 3})
        more = await it.apply("serve", deployment("serve", 12), division=AVAILABLE)
        assert shares(more.workload) == {"a": 8, "b": 4}, "6 more over 29 and 5 free"
        less = await it.apply("serve", deployment("serve", 6), division=AVAILABLE)
        assert shares(less.workload) == {"a": 4, "b": 2}, "a share of what each had"
        wanted = {"a": 4, "b": 2}
        await it.until("members follow", lambda: it.replicas(ref("Deployment", "serve")) == wanted)


async def test_only_rebalance_divides_afresh_and_its_dry_run_says_how(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="2x8xH100", b="1x8xH100") as it:
        await it.hub.admin.members.cordon("b")
        await it.apply("serve", deployment("serve", 8), division={"mode": "spread"})
        await it.until_shares("serve", {"a": 8})
        await it.hub.admin.members.cordon("b", False)
        await it.until_room("serve", {"a": 8, "b": 8})
        assert await it.shares("serve") == {"a": 8}
        told = await it.hub.admin.workloads.rebalance("serve", dry_run=True)
        would = {one.path: one.replicas for one in told.explanation.scored}
        assert would == {"/a": 4, "/b": 4}
        moves = [
            workload_pb2.MemberMove(path="/a", before=8, after=4),
            workload_pb2.MemberMove(path="/b", after=4),
        ]
        assert list(told.moves) == moves
        assert await it.shares("serve") == {"a": 8}
        done = await it.hub.admin.workloads.rebalance("serve")
        assert shares(done.workload) == {"a": 4, "b": 4}
        assert list(done.moves) == moves, "what moved is told as it was foretold"
        wanted = {"a": 4, "b": 4}
        await it.until("members follow", lambda: it.replicas(ref("Deployment", "serve")) == wanted)
        await it.until_room("serve", {"a": 12, "b": 4})
        await it.hub.admin.members.cordon("b")
        away = await it.hub.admin.workloads.rebalance("serve", dry_run=True)
        assert list(away.moves) == [
            workload_pb2.MemberMove(path="/a", before=4, after=8),
            workload_pb2.MemberMove(path="/b", before=4),
        ], "a member that takes nothing new is told, too"


async def test_a_part_tells_its_pods_a_share_of_them_or_all(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100") as it:
        divided = await it.apply("divided", deployment("divided", 3), division=AVAILABLE)
        assert shares(divided.workload) == {"a": 3}
        everywhere = await it.apply("everywhere", deployment("everywhere", 3))
        assert shares(everywhere.workload) == {"a": 3}
        whole = await it.apply("whole", gang("whole", 2, 1))
        assert shares(whole.workload) == {"a": 2}
        without_pods = await it.apply("settings", config_map("settings"))
        assert shares(without_pods.workload) == {"a": 0}


def watched(it: Fleet) -> list[str]:
    """Moments at which a member had work without GPUs, as they happen."""
    faults: list[str] = []
    for name, agent in it.agents.items():

        def look(_: object, name: str = name, simulation: Simulation = agent.simulation) -> None:
            if waiting := sum(simulation.pending().values()):
                faults.append(f"{name}: {waiting} GPUs are asked for that are not there")

        agent.simulation.watch(look)
    return faults


async def placed_and_pending(it: Fleet) -> tuple[list[workload_pb2.Workload], list[workload_pb2.Workload]]:
    everything = [one async for one in it.hub.admin.workloads.list()]
    return [one for one in everything if shares(one)], [one for one in everything if one.pending]


async def test_a_burst_fills_every_block_and_overcommits_none_at_any_moment(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="12x8xH100", b="8x8xH100", c="4x8xH100") as it:
        faults = watched(it)
        await asyncio.gather(
            *(it.apply(f"job-{n}", job(f"job-{n}", 8, seconds=100 + n), **ONE) for n in range(40))
        )
        placed, pending = await placed_and_pending(it)
        assert (len(placed), len(pending)) == (24, 16)
        per_member = [sum(name in shares(one) for one in placed) for name in "abc"]
        assert per_member == [12, 8, 4]
        for one in pending:
            assert (one.state, one.pending) == (workload_pb2.WORKLOAD_STATE_PENDING, 1)
            assert one.message.startswith("placed nowhere, 1 replica pending: of 3 children ")
            told = await it.hub.admin.workloads.explain(one.name)
            assert told.wake.startswith("waits for room for a pod of 8 nvidia.com/gpu: ")
        await it.until("all of them run", lambda: [it.running(name) for name in "abc"] == [96, 64, 32])
        # they end, and those that wait take their places
        it.clock.advance(200)
        await it.until("the rest runs", lambda: sum(it.running(name) for name in "abc") == 16 * 8)
        placed, pending = await placed_and_pending(it)
        assert (len(placed), len(pending)) == (40, 0)
        assert faults == []


async def test_a_job_that_ends_makes_room_within_a_second_and_the_urgent_go_first(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100") as it:
        for name in ("one", "two"):
            await it.apply(name, job(name, 8), **ONE)
        await it.until_free({"a": 0, "b": 0})
        for name, priority in (("early", 0), ("late", 0), ("urgent", 5)):
            assert (await it.apply(name, job(name, 8), priority=priority, **ONE)).workload.pending == 1
        (where,) = await it.shares("one")
        it.agents[where].simulation.finish(ref("Job", "one"))
        await it.until_shares("urgent", {where: 1}, seconds=1.0)
        await it.until("it runs", lambda: it.has(where, ref("Job", "urgent")))
        (other,) = await it.shares("two")
        await it.hub.admin.workloads.delete("two")
        await it.until_shares("early", {other: 1}, seconds=1.0)
        assert await it.shares("late") == {}


async def test_a_gang_is_placed_whole_or_not_at_all(tmp_path: Path) -> None:
    async with fleet(tmp_path, a="2x8xH100", b="2x8xH100") as it:
        for name in ("a", "b"):
            pin = await it.apply(f"small-{name}", job(f"small-{name}", 1), selector=None, members=[name])
            assert shares(pin.workload) == {name: 1}
            await it.until_free({name: 15})
            await it.until_room(f"small-{name}", {name: 15})
        answer = await it.apply("train", gang("train", 2, 8), **ONE)
        assert (shares(answer.workload), answer.workload.pending) == ({}, 2)
        assert "of 2 children 2 have too few free GPUs" in answer.explanation.reasons
        assert answer.explanation.wake.startswith("waits for room for 2 pods of 8 nvidia.com/gpu: ")
        three = await it.apply("three", gang("three", 3, 4), **ONE)
        (taken,) = shares(three.workload)
        other = "b" if taken == "a" else "a"
        it.agents[other].simulation.finish(ref("Job", f"small-{other}"))
        await it.until_shares("train", {other: 2}, seconds=1.0)
        await it.until("both pods run", lambda: it.running(other) == 16)


async def test_what_a_member_does_not_run_yet_is_not_given_away_by_a_hub_that_starts_again(
    tmp_path: Path,
) -> None:
    simulation = Simulation("1x8xH100", name="a", clock=ManualClock())
    async with running_hub(tmp_path / "hub") as hub:
        async with running_agent(hub, tmp_path, "a", simulation=simulation) as agent:
            await agent.until_online()
            it = Fleet(hub, tmp_path, ManualClock(), {"a": agent})
            await it.until_free({"a": 8})
        await hub.until("a", Liveness.SUSPECT)
        first = await it.apply("first", job("first", 8), **ONE)
        assert shares(first.workload) == {"a": 1}
        assert (await it.apply("second", job("second", 8), **ONE)).workload.pending == 1
    async with running_hub(tmp_path / "hub", **ports_of(hub)) as again:
        it = Fleet(again, tmp_path, ManualClock())
        assert await it.shares("first") == {"a": 1}
        assert await it.shares("second") == {}
        async with running_agent(again, tmp_path, "a", simulation=simulation) as agent:
            it.agents["a"] = agent
            faults = watched(it)
            await agent.until_online()
            await it.until("the first runs", lambda: it.running("a") == 8)
            await it.until_free({"a": 0})
            assert await it.shares("second") == {}
            simulation.finish(ref("Job", "first"))
            await it.until_shares("second", {"a": 1})
            await it.until("the second runs", lambda: it.has("a", ref("Job", "second")))
            assert faults == []


async def test_a_hub_that_starts_again_moves_nothing_and_places_what_waits(tmp_path: Path) -> None:
    clock = ManualClock()
    simulations = {name: Simulation("1x8xH100", name=name, clock=clock) for name in "ab"}
    async with AsyncExitStack() as outer:
        async with running_hub(tmp_path / "hub") as hub:
            it = Fleet(hub, tmp_path, clock)
            for name, simulation in simulations.items():
                agent = running_agent(hub, tmp_path, name, simulation=simulation)
                it.agents[name] = await outer.enter_async_context(agent)
                await it.until_free({name: 8})
            await it.apply("serve", deployment("serve", 20), division=AVAILABLE)
            await it.until("they run", lambda: it.running("a") + it.running("b") == 16)
            serve = await hub.admin.workloads.get("serve")
            assert (shares(serve), serve.pending) == ({"a": 8, "b": 8}, 4)
        async with running_hub(tmp_path / "hub", **ports_of(hub)) as again:
            it.hub = again
            serve = await again.admin.workloads.get("serve")
            assert (shares(serve), serve.pending) == ({"a": 8, "b": 8}, 4)
            for agent in it.agents.values():
                await agent.until_online(times=2, seconds=15.0)
            await it.until_free({"a": 0, "b": 0})
            serve = await again.admin.workloads.get("serve")
            assert (shares(serve), serve.generation, serve.pending) == ({"a": 8, "b": 8}, 1, 4)
            simulations["b"].add_nodes("1x2xH100")
            await it.until_shares("serve", {"a": 8, "b": 10})
            serve = await again.admin.workloads.get("serve")
            assert serve.pending == 2
            await it.until("two more run", lambda: it.running("b") == 10)
