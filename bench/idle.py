"""What a thousand idle members cost a hub, and how fast they are back after it was killed: part `idle`.

    start the hub -> base memory -> 1,000 members join -> settle -> memory, CPU and bytes over 60 s
    -> workloads for all of them -> SIGKILL, start again -> all Online -> nothing is lost

The members are held by `fleet.py`, a process on the same cores; each has a TLS connection of its own.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack

from arbora.client import HubClient
from arbora.errors import ArboraError
from arbora.v1 import member_pb2
from bench import proc
from bench.herd import Herd, herd
from bench.processes import HubProcess, hub, scratch
from bench.report import Report
from bench.watching import Seen, online, seen_members

MEMBERS = 1000
START_SECONDS = 10.0
"""Idle time before the base memory is read."""
SETTLE_SECONDS = 20.0
"""Two heartbeats after the last member came."""
WINDOW_SECONDS = 60.0
WORKLOADS = 100
MEMBERS_PER_WORKLOAD = 10
RETURN_SECONDS = 120.0


async def run(report: Report) -> None:
    """Measure all of it on one hub."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        load = await stack.enter_async_context(herd(folder))
        base = await _base(report, one)
        async with one.client() as client:
            report.say(f"idle: {MEMBERS} members join")
            begun = time.perf_counter()
            await load.join(client, one.join_address, MEMBERS)
            seconds = time.perf_counter() - begun
            how = f"{MEMBERS} members enroll and connect, 16 at a time, both sides on the same cores"
            report.figure("join.rate", MEMBERS / seconds, "1/s", how)
        await asyncio.sleep(SETTLE_SECONDS)
        await _window(report, one, load, base)
        await _return(report, one)


async def _base(report: Report, one: HubProcess) -> proc.Memory:
    await asyncio.sleep(START_SECONDS)
    base = proc.memory(one.pid)
    how = f"VmRSS of the hub, no members, {START_SECONDS:g} s after start; RssAnon {_mb(base.anonymous):.0f}"
    report.figure("hub.memory.base", _mb(base.rss), "MB", how, at_most=130)
    return base


async def _window(report: Report, one: HubProcess, load: Herd, base: proc.Memory) -> None:
    """Memory, CPU and traffic of the idle hub."""
    report.say(f"idle: {WINDOW_SECONDS:g} s of nothing but heartbeats")
    before = await proc.traffic(one.session_port) if proc.ss_is_here() else None
    fleet_before, cpu_before, begun = await load.look(), proc.cpu_seconds(one.pid), time.perf_counter()
    await asyncio.sleep(WINDOW_SECONDS)
    cpu, seconds = proc.cpu_seconds(one.pid) - cpu_before, time.perf_counter() - begun
    fleet = await load.look()
    after = await proc.traffic(one.session_port) if proc.ss_is_here() else None
    now = proc.memory(one.pid)
    if fleet.connected != MEMBERS:
        raise ArboraError(f"only {fleet.connected} of {MEMBERS} members held their session")
    how = f"growth of VmRSS over the base / {MEMBERS}, mTLS, status and one sketch each"
    anonymous = (now.anonymous - base.anonymous) * 1.024 / MEMBERS
    report.figure(
        "hub.memory.per_member",
        (now.rss - base.rss) * 1.024 / MEMBERS,
        "kB",
        f"{how}; RssAnon {anonymous:.0f} kB",
        at_most=120,
    )
    load_cores = (fleet.cpu_seconds - fleet_before.cpu_seconds) / seconds
    how = f"user + system time of the hub over {seconds:.0f} s, {MEMBERS} idle members, 10 s heartbeat"
    report.figure(
        "hub.cpu.idle", cpu / seconds, "cores", f"{how}; the load generator took {load_cores:.3f}", at_most=0.10
    )
    _wire(report, before, after, seconds)


def _wire(report: Report, before: proc.Traffic | None, after: proc.Traffic | None, seconds: float) -> None:
    """Bytes per member and second, each way. What is compared with the target includes IP and TCP headers."""
    limit = 12.5
    for direction in ("up", "down"):
        if before is None or after is None:
            report.missing(f"wire.{direction}", "B/s", "there is no ss (iproute2) here", at_most=limit)
            continue
        names = ("received_on_wire", "received") if direction == "up" else ("sent_on_wire", "sent")
        whole, payload = (
            (getattr(after, name) - getattr(before, name)) / seconds / after.connections for name in names
        )
        how = (
            f"member {'to' if direction == 'up' else 'from'} hub, TCP_INFO of {after.connections} connections "
            f"over {seconds:.0f} s, with IP and TCP headers and pure ACKs; TLS payload alone {payload:.1f} B/s"
        )
        report.figure(f"wire.{direction}", whole, "B/s", how, at_most=limit)


async def _return(report: Report, one: HubProcess) -> None:
    """Kill the hub, start it again, wait for everybody, look for what is missing."""
    async with one.client() as client:
        report.say(f"idle: {WORKLOADS} workloads, then SIGKILL")
        for number in range(WORKLOADS):
            first = number * MEMBERS_PER_WORKLOAD % MEMBERS
            names = [f"m-{first + each:05d}" for each in range(MEMBERS_PER_WORKLOAD)]
            await client.workloads.apply(f"w-{number}", [_config_map(number)], members=names)
        kept = await _stored(client)
    gc.collect()
    killed = time.perf_counter()
    await one.kill()
    started = time.perf_counter()
    await one.start()
    await one.answers()
    answered = time.perf_counter()
    async with one.client() as client:
        async with seen_members(client) as members:
            back = await members.until(lambda: _online(members) == MEMBERS, RETURN_SECONDS)
        missing = _missing(kept, await _stored(client))
    how = (
        f"{MEMBERS} members, load generator on the same cores; SIGKILL -> all Online in a client's watch; hub "
        f"started again at once and answering after {answered - started:.1f} s; {WORKLOADS} workloads stored"
    )
    report.figure("reconnect.after_sigkill", back - killed, "s", how, at_most=10)
    members_kept, workloads_kept, events_kept = (len(each) for each in kept)
    how = (
        f"stored before the kill and not there after it: of {members_kept} members, {workloads_kept} workload "
        f"assignments, {events_kept} events"
    )
    report.figure("reconnect.lost_records", missing, "records", how, at_most=0)


Stored = tuple[set[str], set[tuple[str, int, str]], set[str]]


async def _stored(client: HubClient) -> Stored:
    """Every member, every assignment and every event that the hub has on disk."""
    members = {each.path async for each in client.members.list()}
    workloads = [each async for each in client.workloads.list()]
    assignments = {(each.uid, part.generation, part.path) for each in workloads for part in each.assignments}
    events = {each.id async for each in client.events.list()}
    return members, assignments, events


def _missing(before: Stored, after: Stored) -> int:
    return len(before[0] - after[0]) + len(before[1] - after[1]) + len(before[2] - after[2])


def _online(members: Seen[member_pb2.Member]) -> int:
    return sum(online(each) for each in members.now.values())


def _config_map(number: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"w-{number}", "namespace": "default"},
        "data": {"number": str(number)},
    }


def _mb(kibibytes: int) -> float:
    return kibibytes * 1024 / 1e6
