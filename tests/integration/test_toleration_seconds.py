"""`tolerationSeconds`: work leaves a member when the time for which it tolerates a taint is over.

A hub's store, inventory and controller on a clock that stands where a test sets it; the last test has a whole hub
and agents, on real time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp

from arbora.rpc.guard import Context
from arbora.v1 import member_pb2, workload_pb2
from arbora_hub.api.members import MemberService
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import Journal
from arbora_hub.sessions.registry import Sessions
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import WriteTx
from arbora_hub.store.rows import ChildRow
from arbora_hub.tree.calls import Calls
from arbora_hub.workloads.controller import Workloads
from tests.support.eventually import eventually
from tests.support.hub import hub_settings, job
from tests.support.placing import ONE, fleet, ref

START = 1_800_000_000.25
NO_EXECUTE = member_pb2.TAINT_EFFECT_NO_EXECUTE
NO_CONTEXT = cast(Context, None)
POWER = member_pb2.Taint(key="power", value="off", effect=NO_EXECUTE)


@dataclass
class Clock:
    """Wall time that moves only when told to."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """A hub without its ports, and members `a` and `b` of 64 GPUs each."""

    clock: Clock
    inventory: Inventory
    workloads: Workloads
    members: MemberService

    def report(self) -> None:
        """Both members are there and report their GPUs, which wakes the controller."""
        gpu_class = member_pb2.GpuClass(vendor="nvidia", product="H100", sharing="exclusive")
        row = member_pb2.SketchRow(
            members=8, total=64, allocatable=64, free=64, histogram=[0] * 8 + [8] + [0] * 8
        )
        row.best.extend(8 * (8 // size) for size in range(1, 17))
        record = member_pb2.Sketch(gpu_class=gpu_class, rows=[row]).SerializeToString()
        for child in self.inventory:
            self.inventory.connected(child)
            self.inventory.observed(child, "sketch/h100", record)

    def at(self, seconds: float) -> None:
        """So long after the start; whatever has come to wait is told."""
        self.clock.now = START + seconds
        self.report()

    async def place(self, name: str, *tolerations: workload_pb2.Toleration) -> None:
        """A job of 8 GPUs on the member `a`, which may go to `b` later."""
        manifests = [json.dumps(job(name, 8)).encode()]
        for members in (["a"], ["a", "b"]):
            placement = workload_pb2.Placement(members=members, clusters=1, tolerations=tolerations)
            spec = workload_pb2.WorkloadSpec(placement=placement, manifests=manifests)
            await self.workloads.apply(name, {}, spec, dry_run=False)
        assert self.where(name) == {"a"}

    def where(self, name: str) -> set[str]:
        """Members that are to run it."""
        return set(self.workloads.get(name).previous())

    async def until_on(self, name: str, member: str) -> None:
        """Wait until one member is to run it."""
        await eventually(lambda: self.where(name) == {member}, f"{name} is on {member} alone")

    async def taint(self, *taints: member_pb2.Taint, remove: tuple[member_pb2.Taint, ...] = ()) -> list[float]:
        """Change the taints of `a`; when those it has were added, in seconds after the start."""
        request = member_pb2.TaintMemberRequest(path="a", set=taints, remove=remove)
        answer = await self.members.TaintMember(request, NO_CONTEXT)
        return [seconds(taint.added) - START for taint in answer.member.taints]


def seconds(time: Timestamp) -> float:
    return time.ToMicroseconds() / 1e6


def tolerated(span: int, key: str = "power") -> workload_pb2.Toleration:
    """Taints of a key for `span` seconds."""
    return workload_pb2.Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=span)


@asynccontextmanager
async def world(folder: Path, clock: Clock) -> AsyncIterator[World]:
    """What a hub does while the block lasts; the next one in the same folder is this hub after a restart."""
    store = await open_store(folder / "hub.db")
    try:
        journal = Journal(store, 1000, clock)
        inventory = Inventory(store, journal, Terms(10.0, 40.0, 60.0))

        async def enroll(tx: WriteTx) -> None:
            for name in "ab":
                if await tx.children.get(name) is None:
                    await tx.children.put(ChildRow(name, "agent", session_epoch=1))

        await store.write(enroll)
        await inventory.load()
        settings = hub_settings(folder)
        sessions = Sessions(settings, inventory, HubAuthority(store, settings, journal), journal, "instance")
        workloads = Workloads(store, inventory, sessions, journal, clock)
        await workloads.load()
        inventory.on_change(workloads.child_changed)
        inventory.on_capacity(workloads.capacity_changed)
        made = World(
            clock,
            inventory,
            workloads,
            MemberService(inventory, sessions, workloads, Calls(sessions, inventory), clock),
        )
        made.report()
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(workloads.run())
            try:
                yield made
            finally:
                run.cancel()
    finally:
        await store.close()


async def test_work_leaves_after_the_seconds_of_its_toleration_and_not_before(tmp_path: Path) -> None:
    async with world(tmp_path, Clock()) as it:
        for name, span in (("brief", 10), ("train", 30), ("long", 31)):
            await it.place(name, tolerated(span))
        await it.place("at-once")
        await it.place("never", workload_pb2.Toleration(key="power", operator="Exists"))
        await it.taint(POWER)
        await it.until_on("at-once", "b")
        it.at(10.0)
        await it.until_on("brief", "b")
        it.at(29.9)
        assert it.where("train") == {"a"}
        it.clock.now = START + 30.0  # nothing is told: the controller waits for this moment by itself
        await it.until_on("train", "b")
        assert (it.where("long"), it.where("never")) == ({"a"}, {"a"})
        it.at(31.0)
        await it.until_on("long", "b")
        assert it.where("never") == {"a"}


async def test_work_stays_when_the_taint_goes_in_time(tmp_path: Path) -> None:
    async with world(tmp_path, Clock()) as it:
        await it.place("train", tolerated(30))
        await it.place("canary", tolerated(30), tolerated(40, "fire"))
        await it.taint(POWER)
        it.at(20.0)
        await it.taint(remove=(POWER,))
        await it.place("late", tolerated(10, "fire"))
        await it.taint(member_pb2.Taint(key="power", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE))
        it.at(30.0)
        it.at(60.0)
        await it.taint(member_pb2.Taint(key="fire", effect=NO_EXECUTE))
        await it.until_on("train", "b")
        assert it.where("late") == it.where("canary") == {"a"}
        it.at(70.0)
        await it.until_on("late", "b")
        assert it.where("canary") == {"a"}


async def test_a_hub_that_was_restarted_keeps_the_time(tmp_path: Path) -> None:
    clock = Clock()
    async with world(tmp_path, clock) as it:
        await it.place("train", tolerated(30))
        await it.place("long", tolerated(60))
        clock.now += 5.0
        assert await it.taint(POWER) == [5.0]
    clock.now = START + 34.9
    async with world(tmp_path, clock) as it:
        assert it.where("train") == {"a"}
        clock.now = START + 35.0
        await it.until_on("train", "b")
        assert it.where("long") == {"a"}


async def test_what_ran_out_while_the_hub_was_down_leaves_when_it_is_back(tmp_path: Path) -> None:
    clock = Clock()
    async with world(tmp_path, clock) as it:
        await it.place("train", tolerated(30))
        await it.taint(POWER)
    clock.now = START + 3600.0
    async with world(tmp_path, clock) as it:
        it.at(3601.0)
        await it.until_on("train", "b")


async def test_a_taint_keeps_the_time_when_it_was_added_until_its_value_changes(tmp_path: Path) -> None:
    hot = member_pb2.Taint(key="hot", effect=NO_EXECUTE)
    async with world(tmp_path, Clock()) as it:
        assert await it.taint(POWER) == [0.0]
        it.clock.now += 10.0
        assert await it.taint(POWER, hot) == [10.0, 0.0], "set again as it is, and a new one"
        it.clock.now += 10.0
        other = member_pb2.Taint(key="power", value="low", effect=NO_EXECUTE, added=Timestamp(seconds=1))
        assert await it.taint(other) == [10.0, 20.0], "another value; what a client says of the time is not heard"
        it.clock.now += 10.0
        assert await it.taint(hot, remove=(hot,)) == [30.0, 20.0], "removed and set anew"
        schedule = member_pb2.Taint(key="hot", effect=member_pb2.TAINT_EFFECT_NO_SCHEDULE)
        it.clock.now += 10.0
        assert await it.taint(schedule) == [30.0, 40.0, 20.0], "another effect is another taint"


async def test_a_changed_value_starts_the_time_anew(tmp_path: Path) -> None:
    async with world(tmp_path, Clock()) as it:
        await it.place("train", tolerated(30))
        await it.place("canary", tolerated(40))
        await it.taint(POWER)
        it.at(20.0)
        await it.taint(member_pb2.Taint(key="power", value="low", effect=NO_EXECUTE))
        it.at(49.9)
        assert it.where("train") == {"a"}
        it.at(50.0)
        await it.until_on("train", "b")
        assert it.where("canary") == {"a"}


async def test_a_job_on_a_real_member_moves_when_its_toleration_is_over(tmp_path: Path) -> None:
    stays: dict[str, Any] = {"key": "power", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    async with fleet(tmp_path, a="1x8xH100", b="1x8xH100") as it:
        await it.apply("train", job("train", 8), selector=None, members=["a"], tolerations=[stays], **ONE)
        await it.until("it runs on a", lambda: it.has("a", ref("Job", "train")))
        await it.hub.admin.members.taint("a", set=[POWER])
        await it.apply("train", job("train", 8), tolerations=[stays], **ONE)
        await it.until("it has moved to b", lambda: it.has("b", ref("Job", "train")))
        await it.until("and has left a", lambda: not it.has("a", ref("Job", "train")))
