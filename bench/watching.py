"""What a client sees of a hub, kept current by its watches, so that a topic can wait for a state of the world.

`seen_members(client)` is a block in which `members.now` is current and `members.until(...)` gives the moment at
which a condition came true.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Generic, Protocol, TypeVar

from arbora.client import HubClient
from arbora.errors import DeadlineExceeded
from arbora.v1 import member_pb2, workload_pb2

T = TypeVar("T")


class Seen(Generic[T]):
    """The last known objects by name, and a way to wait."""

    def __init__(self) -> None:
        self.now: dict[str, T] = {}
        self._changed = asyncio.Event()
        self._failed: BaseException | None = None

    async def until(self, condition: Callable[[], bool], seconds: float) -> float:
        """When `condition` came true, by `time.perf_counter`; looked at after each message.

        Raises DeadlineExceeded, and whatever ended the watch.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self._failed is not None:
                        raise self._failed
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise DeadlineExceeded(f"what was waited for did not come in {seconds:g} s") from error
        return time.perf_counter()

    def told(self, name: str, value: T | None) -> None:
        """A message of the watch; None: it is gone."""
        if value is None:
            self.now.pop(name, None)
        else:
            self.now[name] = value
        self._changed.set()

    def ended(self, error: BaseException | None) -> None:
        """The watch is over."""
        self._failed = error or ConnectionError("the watch ended")
        self._changed.set()


class _Change(Protocol):
    """What both watches send."""

    gone: bool
    synced: bool


C = TypeVar("C", bound=_Change)


@asynccontextmanager
async def _following(
    stream: AsyncGenerator[C, None], take: Callable[[Seen[T], C], None]
) -> AsyncIterator[Seen[T]]:
    """Follow a watch for the length of the block, which begins when everything there was has been seen."""
    seen: Seen[T] = Seen()
    synced = asyncio.Event()

    async def follow() -> None:
        try:
            async with aclosing(stream):
                async for change in stream:
                    if change.synced:
                        synced.set()
                    else:
                        take(seen, change)
        except Exception as error:  # noqa: BLE001 - raised by `until` to whoever waits for it
            seen.ended(error)
        else:
            seen.ended(None)
        synced.set()

    task = asyncio.create_task(follow())
    try:
        await synced.wait()
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def seen_members(client: HubClient) -> AsyncIterator[Seen[member_pb2.Member]]:
    """Members by path."""

    def take(seen: Seen[member_pb2.Member], change: member_pb2.WatchMembersResponse) -> None:
        seen.told(change.member.path, None if change.gone else change.member)

    async with _following(client.members.watch(), take) as seen:
        yield seen


@asynccontextmanager
async def seen_workloads(client: HubClient) -> AsyncIterator[Seen[workload_pb2.Workload]]:
    """Workloads by name."""

    def take(seen: Seen[workload_pb2.Workload], change: workload_pb2.WatchWorkloadsResponse) -> None:
        seen.told(change.workload.name, None if change.gone else change.workload)

    async with _following(client.workloads.watch(), take) as seen:
        yield seen


def online(member: member_pb2.Member | None) -> bool:
    """Whether the hub hears of it now."""
    return member is not None and member.liveness == member_pb2.LIVENESS_ONLINE


def gpu_rows(members: Iterable[member_pb2.Member]) -> list[member_pb2.SketchRow]:
    """All that the hub knows of their GPUs, class by class."""
    return [row for member in members for sketch in member.sketches for row in sketch.rows]


def schedulable(member: member_pb2.Member | None) -> bool:
    """Whether the hub could place work there: online, and its GPUs are known from this session."""
    return member is not None and online(member) and bool(member.sketches) and not member.stale
