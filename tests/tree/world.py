"""A tree in one process on a simulated clock: the hub's own composition root many times, and members in memory.

    World.hub, World.member -> join through a network in memory (`wires.py`), as they would through TLS
    cut, mend, kill, start, move -> what happens to trees
    until_quiet -> time passes until nothing changes any more

Real: stores on disk, sessions, links, uplinks, mirrors, aggregation, placement, assignments. In memory: bytes on
the wire, and the clusters of the members (`member.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from arbora.errors import ArboraError
from arbora.identity.names import Kind
from arbora.manifests.objects import to_json
from arbora.v1 import workload_pb2 as pb
from arbora_hub import app
from arbora_hub.settings import HubSettings
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import ReadTx, Store, WriteTx
from tests.support.virtual_time import virtual_loop
from tests.tree.member import Member
from tests.tree.wires import LinkName, Network

T = TypeVar("T")

QUIET_SECONDS = 70.0
"""Nothing crossed a link for so long: nothing is going on. Longer than reservations last."""
SETTLE_SECONDS = 900.0
"""Of virtual time, for everything to come to rest."""


class OutsideStore:
    """A store whose threads the clock waits for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, fn: Callable[[WriteTx], Awaitable[T]]) -> T:
        with virtual_loop().outside():
            return await self._store.write(fn)

    async def read(self, fn: Callable[[ReadTx], Awaitable[T]]) -> T:
        with virtual_loop().outside():
            return await self._store.read(fn)

    async def close(self) -> None:
        with virtual_loop().outside():
            await self._store.close()


class HubNode:
    """One hub: its data directory, and the process while it runs."""

    def __init__(self, name: str, folder: Path, network: Network) -> None:
        self.name = name
        self.folder = folder / name
        self._network = network
        self._hub: app.Hub | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def hub(self) -> app.Hub:
        """Its parts; it must be running."""
        assert self._hub is not None, f"{self.name} is down"
        return self._hub

    @property
    def up(self) -> bool:
        return self._hub is not None

    async def start(self) -> None:
        """Start it with what its directory holds."""
        assert self._task is None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        started: asyncio.Future[app.Hub] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(started), name=f"hub {self.name}")
        await asyncio.wait((self._task, started), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self._hub = started.result()

    async def _live(self, started: asyncio.Future[app.Hub]) -> None:
        with virtual_loop().outside():
            store = OutsideStore(await open_store(self.folder / app.DATABASE))
        try:
            hub = await app._build(HubSettings(data_dir=self.folder), store)
            self._network.open(self.name, hub)
            async with app._parts(hub):
                started.set_result(hub)
                await asyncio.Event().wait()
        finally:
            await store.close()

    async def kill(self) -> None:
        """As SIGKILL does: no farewell, nothing saved."""
        assert self._task is not None
        self._hub = None
        await self._network.shut(self.name)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error
        self._task = None

    def check(self) -> None:
        """It has not ended by itself."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise AssertionError(f"{self.name} ended by itself")


class World:
    """The whole tree."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, seed: int) -> None:
        self.chance = random.Random(seed)
        self.network = Network()
        self.hubs: dict[str, HubNode] = {}
        self.members: dict[str, Member] = {}
        self.parent: dict[str, str] = {}
        """Hub or member -> the hub above; a root has none."""
        self.story: list[str] = []
        """What was done, for whoever reads a failure."""
        self._label: dict[str, str] = {}
        self._folder = folder
        self.network.install(patch)
        ids = random.Random(seed)
        patch.setattr("secrets.randbits", ids.getrandbits)
        patch.setattr("secrets.token_hex", lambda count: ids.randbytes(count).hex())
        patch.setattr("uuid.uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4))
        began, loop = time.time() - virtual_loop().time(), virtual_loop()
        patch.setattr("arbora_hub.app.time", SimpleNamespace(time=lambda: began + loop.time()))

    async def add_hub(self, name: str, parent: str = "") -> HubNode:
        """A new hub; joined if it has a parent."""
        node = self.hubs[name] = HubNode(name, self._folder, self.network)
        await node.start()
        if parent:
            token = await self._token(parent, Kind.HUB, name)
            await node.hub.uplink.move(f"{parent}:7444", token)
            self.parent[name] = parent
        return node

    async def add_member(
        self, name: str, parent: str, *nodes: int, labels: dict[str, str] | None = None
    ) -> Member:
        """A new member with nodes of so many GPUs."""
        member = self.members[name] = Member(name, list(nodes), random.Random(self.chance.getrandbits(64)))
        await member.join(f"{parent}:7444", await self._token(parent, Kind.AGENT, name, labels))
        self.parent[name] = parent
        await member.start()
        return member

    async def _token(self, hub: str, kind: Kind, name: str, labels: dict[str, str] | None = None) -> str:
        token, _row = await self.hubs[hub].hub.enrollment.create_token(kind, name, labels or {}, 3600.0, 1)
        return token.text()

    async def close(self) -> None:
        """Take everything down."""
        for member in self.members.values():
            await member.stop()
        for node in self.hubs.values():
            if node.up:
                await node.kill()

    # what happens to trees

    def cut(self, name: str, *, silently: bool = False) -> None:
        """The link of a hub or member upwards."""
        self._note(f"cut {name} from {self.parent[name]}{' silently' if silently else ''}")
        self.network.cut(self._link(name), silently=silently)

    def mend(self, name: str) -> None:
        """It passes again."""
        self._note(f"mend {name}")
        self.network.mend(self._link(name))

    def is_cut(self, name: str) -> bool:
        """Whether the link upwards is cut now."""
        link = self._link(name)
        return link in self.network.broken or link in self.network.silent

    async def kill(self, name: str) -> None:
        self._note(f"kill {name}")
        await self.hubs[name].kill()

    async def start(self, name: str) -> None:
        self._note(f"start {name}")
        await self.hubs[name].start()

    async def move(self, name: str, parent: str) -> None:
        """Give a hub another parent, as `arbora hub move` does. Raises ArboraError if that can't be done now."""
        self._note(f"move {name} from {self.parent.get(name)} to {parent}")
        label = f"{name}-{self.chance.getrandbits(24):06x}"  # what was moved away keeps its name there
        token = await self._token(parent, Kind.HUB, label)
        await self.hubs[name].hub.uplink.move(f"{parent}:7444", token)
        if name in self.parent:
            self.network.mend(self._link(name))
        self.parent[name], self._label[name] = parent, label

    def label(self, name: str) -> str:
        """What the hub above calls it."""
        return self._label.get(name, name)

    def _link(self, name: str) -> LinkName:
        return self.parent[name], self.label(name)

    async def apply(self, hub: str, name: str, manifest: dict[str, Any], placement: pb.Placement) -> None:
        """Submit a workload. Raises ArboraError."""
        self._note(f"apply {name} at {hub}: {manifest['spec'].get('replicas', 'a gang')}")
        spec = pb.WorkloadSpec(placement=placement, manifests=[to_json(manifest)])
        await self.hubs[hub].hub.workloads.apply(name, {}, spec, dry_run=False)

    async def delete(self, hub: str, name: str) -> None:
        """Delete a workload. Raises ArboraError."""
        self._note(f"delete {name} at {hub}")
        await self.hubs[hub].hub.workloads.delete(name, orphan=False)

    def _note(self, what: str) -> None:
        self.story.append(f"{virtual_loop().time():.3f} {what}")

    # what is where

    def below(self, hub: str) -> list[str]:
        """Names of members below a hub, at any depth."""
        return [name for name in self.members if hub in self.above(name)]

    def above(self, name: str) -> list[str]:
        """Hubs above a hub or member, the nearest first."""
        found = []
        while name in self.parent:
            name = self.parent[name]
            found.append(name)
        return found

    def path(self, name: str, hub: str) -> str:
        """The path of a hub or member, relative to a hub above it."""
        labels = []
        while name != hub:
            labels.append(self.label(name))
            name = self.parent[name]
        return "/".join(reversed(labels))

    # time

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and look whether all is well."""
        await asyncio.sleep(seconds)
        self.check()

    def check(self) -> None:
        """Nobody failed."""
        for node in self.hubs.values():
            node.check()
        if self.network.faults:
            raise self.network.faults[0]

    async def heal(self) -> None:
        """Start what is down, mend what is cut."""
        for name in self.parent:
            if self.is_cut(name):
                self.mend(name)
        for name, node in self.hubs.items():
            if not node.up:
                await self.start(name)
        for member in self.members.values():
            for node_index in list(member.off):
                member.turn(node_index, on=True)
        await self.evict_moved()

    async def evict_moved(self) -> None:
        """What an operator does after a move: take the hub that has left out of its old place."""
        for name, node in self.hubs.items():
            here = {self.label(child) for child, parent in self.parent.items() if parent == name}
            for child in [child for child in node.hub.inventory if child.name not in here]:
                self._note(f"evict {child.name} from {name}")
                await node.hub.inventory.evict(child)
                node.hub.sessions.evict(child.name, "it has moved")

    async def until_quiet(self) -> float:
        """Let time pass until nothing crosses any link any more; for how long that took."""
        began = virtual_loop().time()
        while virtual_loop().time() - began < SETTLE_SECONDS:
            before = sum(self.network.records.values())
            await self.pass_time(QUIET_SECONDS)
            online = all(member.online for member in self.members.values())
            attached = all(node.hub.uplink.connected for name, node in self.hubs.items() if name in self.parent)
            if sum(self.network.records.values()) == before and online and attached:
                return virtual_loop().time() - began
        crossing = {link: count for link, count in self.network.records.items()}
        raise AssertionError(f"never quiet: {crossing}")


async def attempt(doing: Awaitable[None]) -> bool:
    """Whether it could be done; a refusal is fine."""
    try:
        await doing
    except ArboraError:
        return False
    return True
