"""Jobs that ask for eight GPUs, and ways to submit many of them: what the parts of `placement` put into a hub.

Must not measure: who calls it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from arbora.client import HubClient
from arbora.manifests.selectors import parse_selector
from arbora.v1 import workload_pb2
from bench.processes import HubProcess

GPUS = 8
"""A whole node of the bench's members."""
ANYWHERE = parse_selector("")
ONE_MEMBER = {"clusters": 1}
FOREVER = "86400"
"""Seconds that a simulated Job runs, unless it is finished by hand."""


def job(name: str) -> dict[str, Any]:
    """One pod with eight GPUs of any product."""
    container = {"name": "train", "image": "train:1", "resources": {"limits": {"nvidia.com/gpu": str(GPUS)}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"arbora.dev/simulated-seconds": FOREVER},
        },
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


async def submit(client: HubClient, name: str) -> workload_pb2.ApplyWorkloadResponse:
    """A workload of one such Job, for the best member of all."""
    return await client.workloads.apply(name, [job(name)], selector=ANYWHERE, placement=ONE_MEMBER)


async def submit_all(clients: Sequence[HubClient], names: Iterable[str], at_once: int) -> None:
    """Submit a workload for each name, `at_once` of them in flight, over all clients in turn."""
    left = iter(names)

    async def work(client: HubClient) -> None:
        for name in left:
            await submit(client, name)

    async with asyncio.TaskGroup() as tasks:
        for number in range(at_once):
            tasks.create_task(work(clients[number % len(clients)]))


@asynccontextmanager
async def clients_of(one: HubProcess, count: int) -> AsyncIterator[list[HubClient]]:
    """So many clients, each with a connection of its own that is already open."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(one.client()) for _ in range(count)]
        for client in clients:
            await client.info()
        yield clients


def assigned(workload: workload_pb2.Workload | None) -> bool:
    """Whether some member is to run it."""
    return workload is not None and any(not part.withdrawn for part in workload.assignments)


def waiting(workload: workload_pb2.Workload | None) -> bool:
    """Whether it has no place yet."""
    return workload is not None and workload.pending > 0
