"""What both demos do with a hub: join members, wait for a state of the world, tidy up, and tell how it went.

Waits are on watches, never on time, and each has an end. Must not show anything but failures.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import structlog
from rich.console import Console

from arbora.client import HubClient
from arbora.errors import ArboraError, Conflict
from arbora.v1 import member_pb2, workload_pb2
from bench import cast
from bench.stage import Stage

T = TypeVar("T")


def tell(console: Console, play: Callable[[Path, Stage], Awaitable[None]]) -> int:
    """Play a story in a folder of its own; returns the exit code."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

    async def played(folder: Path) -> None:
        await play(folder, Stage(console))

    with tempfile.TemporaryDirectory(prefix="arbora-demo-") as folder:
        try:
            asyncio.run(played(Path(folder)))
        except ArboraError as error:
            console.print(f"[red]the demo failed:[/red] {error}", highlight=False)
            if error.hint:
                console.print(f"hint: {error.hint}", highlight=False)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


async def join(
    stack: AsyncExitStack,
    hub: HubClient,
    folder: Path,
    name: str,
    address: str,
    token: str,
    where: dict[str, str],
    path: str = "",
) -> cast.Member:
    """A member that the hub knows with its GPUs. path: where it stands, if not directly below a root."""
    one = await stack.enter_async_context(cast.member(folder, name, address, token, where))
    await until_member(hub, path or f"/{name}", member_pb2.LIVENESS_ONLINE, reported=True)
    return one


async def until_member(hub: HubClient, path: str, liveness: int, *, reported: bool = False) -> member_pb2.Member:
    """The child of the hub in this liveness. reported: and its status is known. Raises Conflict."""

    async def seen() -> member_pb2.Member:
        async for change in hub.members.watch():
            one = change.member
            if one.path == path and one.liveness == liveness and (one.HasField("status") or not reported):
                return one
        raise Conflict("the watch ended")

    return await in_time(seen, 40.0, f"{path} did not become {member_pb2.Liveness.Name(liveness)}")  # type: ignore[arg-type]


async def until_workload(
    hub: HubClient, name: str, wanted: Callable[[workload_pb2.Workload], bool], seconds: float = 20.0
) -> workload_pb2.Workload:
    """The workload once it is as `wanted`. Raises Conflict."""

    async def seen() -> workload_pb2.Workload:
        async for change in hub.workloads.watch(name):
            if not change.synced and not change.gone and wanted(change.workload):
                return change.workload
        raise Conflict("the watch ended")

    return await in_time(seen, seconds, f"workload {name} did not get there")


async def withdraw(hub: HubClient) -> None:
    """Delete every workload and return when all are gone. Raises Conflict."""
    names = [one.name async for one in hub.workloads.list()]
    for name in names:
        await hub.workloads.delete(name)

    async def gone() -> None:
        async for change in hub.workloads.watch():
            if (change.synced or change.gone) and not [one async for one in hub.workloads.list()]:
                return

    await in_time(gone, 30.0, "the workloads were not deleted")


async def in_time(what: Callable[[], Awaitable[T]], seconds: float, otherwise: str) -> T:
    """The result of `what`. otherwise: what to say if it takes longer. Raises Conflict."""
    try:
        async with asyncio.timeout(seconds):
            return await what()
    except TimeoutError as error:
        raise Conflict(f"{otherwise} within {seconds:g} s") from error
