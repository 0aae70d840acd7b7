"""A client that never stops writing, for hubs that are killed: it remembers what was acknowledged to it.

Every value is a number that only rises, so "the acknowledged one, or one that was tried after it" can be
checked while writing goes on.
"""

from __future__ import annotations

import asyncio
import json

from arbora.client import HubClient
from arbora.errors import ArboraError, NotFound
from arbora.v1 import member_pb2
from tests.support.eventually import eventually
from tests.support.hub import config_map
from tests.support.processes import is_up

NAMES = 7
"""Workloads that are changed again and again."""
DELETE_EVERY = 5


class Writer:
    """Applies and deletes workloads and labels a member until it is told to stop."""

    def __init__(self, client: HubClient, member: str) -> None:
        self._client = client
        self._member = member
        self._number = 0
        self._applied: dict[str, int] = {}
        """Name -> newest acknowledged number."""
        self._labelled: set[int] = set()
        self._deleted: set[str] = set()
        self.failed = 0

    @property
    def acknowledged(self) -> int:
        """Rounds of writes that were acknowledged whole."""
        return len(self._labelled)

    async def run(self, stop: asyncio.Event) -> None:
        """Write; after a failure go on as soon as the hub answers."""
        while not stop.is_set():
            self._number += 1
            try:
                await self._write(self._number)
            except ArboraError:
                self.failed += 1
                await eventually(lambda: is_up(self._client), "the hub answers the writer", 20.0)

    async def _write(self, number: int) -> None:
        name = f"app-{number % NAMES}"
        await self._apply(name, number)
        self._applied[name] = number
        if number % DELETE_EVERY == 0:
            once = f"once-{number}"
            await self._apply(once, number)
            await self._client.workloads.delete(once)
            self._deleted.add(once)
        await self._client.members.label(self._member, {f"n{number}": str(number)})
        self._labelled.add(number)

    async def _apply(self, name: str, number: int) -> None:
        await self._client.workloads.apply(name, [config_map(name, n=str(number))], members=[self._member])

    async def missing(self) -> list[str]:
        """What had been acknowledged when this was asked, and is not there."""
        applied, labelled, deleted = dict(self._applied), set(self._labelled), set(self._deleted)
        lost = []
        for name, number in applied.items():
            workload = await self._client.workloads.get(name)
            there = int(json.loads(workload.spec.manifests[0])["data"]["n"])
            if not number <= there <= self._number:
                lost.append(f"{name}: {number} was acknowledged, {there} is there")
        labels = (await self._client.members.get(self._member)).labels
        lost += [f"label n{number}" for number in labelled if labels.get(f"n{number}") != str(number)]
        for name in deleted:
            try:
                if not (await self._client.workloads.get(name)).deleting:
                    lost.append(f"deletion of {name}")
            except NotFound:
                continue
        return lost


async def until_online(client: HubClient, *names: str, epoch: int = 1, seconds: float = 20.0) -> None:
    """Wait until all of these members are online with a session of this epoch or a later one."""

    async def online() -> bool:
        there = {
            one.path
            async for one in client.members.list()
            if one.liveness == member_pb2.LIVENESS_ONLINE and one.session_epoch >= epoch
        }
        return there >= {f"/{name}" for name in names}

    await eventually(online, f"{names} online", seconds)
