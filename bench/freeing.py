"""From the moment at which GPUs become free to the job that was waiting for them: part `freeing`.

    a job ends in a member -> its agent tells -> the hub wakes who waits, decides, stores, sends -> it is there

Twice: with a real agent on a simulated cluster, from the change in the cluster to the waiting Job's creation;
and with the session alone, from the report of free GPUs to the assignment: what of it is the hub's.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from arbora.client import HubClient
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.manifests.objects import ref_of
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.session import enroll
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.v1 import member_pb2, workload_pb2
from arbora.version import __version__
from arbora.workloads.model import AssignmentStatus, State
from arbora.workloads.wire import STATE_TO_WIRE, status_to_wire
from bench.fleet import GPUS_PER_NODE, MemoryStore, sketch_records, status_record
from bench.jobs import assigned, job, submit, waiting
from bench.leaf import created, leaf
from bench.processes import HubProcess, hub, scratch
from bench.report import Report
from bench.watching import Seen, gpu_rows, schedulable, seen_members, seen_workloads

RUNS = 100
UNMEASURED = 3
FLEET = "1x8xH100"
P99 = 100.0
WAIT_SECONDS = 20.0


async def run(report: Report) -> None:
    """Measure both, each on a hub of its own with one member."""
    await _with_agent(report)
    await _hub_alone(report)


async def _with_agent(report: Report) -> None:
    report.say(f"freeing: {RUNS} jobs, one after the other, wait for the one before")
    samples: list[float] = []
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        workloads = await stack.enter_async_context(seen_workloads(client))
        simulation = await stack.enter_async_context(leaf(folder, one, client, "real", FLEET))
        await members.until(lambda: schedulable(members.now.get("/real")), WAIT_SECONDS)
        await submit(client, "job-0")
        for number in range(1, UNMEASURED + RUNS + 1):
            await _taken(members, workloads, f"job-{number - 1}")
            await submit(client, f"job-{number}")
            await workloads.until(lambda: waiting(workloads.now.get(f"job-{number}")), WAIT_SECONDS)  # noqa: B023
            appears = created(simulation, ref_of(job(f"job-{number}")), WAIT_SECONDS)
            begun = time.perf_counter()
            simulation.finish(ref_of(job(f"job-{number - 1}")))
            samples.append((await appears - begun) * 1000)
            await _gone(client, workloads, f"job-{number - 1}")
    how = (
        f"real agent with simulated {FLEET} that gathers changes for 50 ms; the pod of the running Job succeeds "
        "-> the Job that waited for its GPUs is created in the cluster; one at a time"
    )
    report.quantile("free.to_sent", samples[UNMEASURED:], 0.5, "ms", how)
    report.quantile("free.to_sent", samples[UNMEASURED:], 0.99, "ms", how, at_most=P99)


async def _taken(
    members: Seen[member_pb2.Member], workloads: Seen[workload_pb2.Workload], name: str, member: str = "/real"
) -> None:
    """The hub knows that a job runs and that no GPU is free."""
    runs = (STATE_TO_WIRE[State.AVAILABLE], STATE_TO_WIRE[State.PROGRESSING], STATE_TO_WIRE[State.COMPLETE])

    def free() -> int:
        return sum(row.free for row in gpu_rows([members.now[member]]))

    await workloads.until(lambda: name in workloads.now and workloads.now[name].state in runs, WAIT_SECONDS)
    await members.until(lambda: free() == 0, WAIT_SECONDS)


async def _gone(client: HubClient, workloads: Seen[workload_pb2.Workload], name: str) -> None:
    await client.workloads.delete(name)
    await workloads.until(lambda: name not in workloads.now, WAIT_SECONDS)


# the hub's part


async def _hub_alone(report: Report) -> None:
    report.say(f"freeing: {RUNS} times with the session alone")
    samples: list[float] = []
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        workloads = await stack.enter_async_context(seen_workloads(client))
        arrived = asyncio.Event()
        link = await stack.enter_async_context(_linked(one, client, arrived.set))
        await members.until(lambda: schedulable(members.now.get("/bare")), WAIT_SECONDS)
        for number in range(UNMEASURED + RUNS):
            name = f"job-{number}"
            await submit(client, name)
            await workloads.until(lambda: waiting(workloads.now.get(name)), WAIT_SECONDS)  # noqa: B023
            arrived.clear()
            begun = time.perf_counter()
            _report_gpus(link, used=0)
            async with asyncio.timeout(WAIT_SECONDS):
                await arrived.wait()
            samples.append((time.perf_counter() - begun) * 1000)
            await workloads.until(lambda: assigned(workloads.now.get(name)), WAIT_SECONDS)  # noqa: B023
            _report_done(link, workloads.now[name].uid)
            _report_gpus(link, used=GPUS_PER_NODE)
            await _taken(members, workloads, name, "/bare")
    how = (
        "the same without agent and cluster, over a session of this process: free GPUs reported -> the "
        "assignment of the Job that waits has arrived; decided and stored with fsync in between"
    )
    report.quantile("free.hub_part", samples[UNMEASURED:], 0.5, "ms", how)
    report.quantile("free.hub_part", samples[UNMEASURED:], 0.99, "ms", how)


@asynccontextmanager
async def _linked(one: HubProcess, client: HubClient, arrived: Callable[[], None]) -> AsyncIterator[Link]:
    """A member that is a session and nothing else. arrived: called for each assignment."""
    token = join_token.parse((await client.join_tokens.create("bare")).token)
    store, uid = MemoryStore(), secrets.token_hex(8)
    credential = await enroll.enroll(
        one.join_address, token, store, kind=Kind.AGENT, name="bare", cluster_uid=uid, version=__version__
    )

    def applied(what: Applied) -> None:
        if any(key.startswith("assignment/") for key in what.changed):
            arrived()

    link = Link(
        credential,
        store,
        Exchange(secrets.randbits(62) + 1),
        Introduction(Kind.AGENT, instance_id=secrets.token_hex(8), cluster_uid=uid),
        LinkEvents(applied=applied),
        random.Random(secrets.randbits(64)),
    )
    link.put("status", status_record(1))
    _report_gpus(link, used=GPUS_PER_NODE)
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _report_gpus(link: Link, used: int) -> None:
    for key, value in sketch_records(used, 1):
        link.put(key, value)


def _report_done(link: Link, uid: str) -> None:
    """Its pods have their GPUs: only then the hub counts on the next report of GPUs again."""
    status = AssignmentStatus(uid, 1, State.AVAILABLE, share=1)
    link.put(f"workload/{uid}", status_to_wire(status).SerializeToString(deterministic=True))
