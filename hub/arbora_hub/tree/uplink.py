"""The dialing side of this hub: its session to the parent, by the same code as an agent's.

    settings, `arbora hub move` -> `moving.py`: join -> `holding.py`: hold on to one parent -> `held.py`: the link
    up:    put, delete            -> `records.py`: an exchange of its own, new with every new parent
    down:  records of the parent  -> whoever observes their kind; `settings`: path, ancestors, labels

Whatever the parent does, this hub goes on serving. It never decides what is said upwards, and never which
workloads run: a new parent is told of through `on_parent`, an old one's work is taken back by `on_leave`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from arbora.errors import Unavailable
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import Journal
from arbora_hub.settings import HubSettings
from arbora_hub.tree.holding import Holding
from arbora_hub.tree.joining import Renewals
from arbora_hub.tree.moving import Moving
from arbora_hub.tree.parent_store import ParentStore
from arbora_hub.tree.records import Observer


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say of the uplink."""

    parent: str
    """host:port of the join port."""
    phase: str
    """starting, connecting, online, waiting, stopped."""
    sentence: str
    session_epoch: int
    standbys: tuple[str, ...]


class Uplink:
    """This hub as a child. Without a parent every method is harmless."""

    def __init__(self, settings: HubSettings, inventory: Inventory, journal: Journal, hub_id: str) -> None:
        chance = random.Random(secrets.randbits(64))
        store = ParentStore(settings.data_dir)
        self._holding = Holding(store, inventory, journal, hub_id, settings.standby_after, chance)
        self._moving = Moving(settings, self._holding, hub_id, chance)
        self._renewals = Renewals(store, lambda: self._holding.parents.standbys(), chance)
        self._records = self._holding.records

    async def load(self) -> None:
        """Read what was kept. Call once, before anything else. Raises InvalidInput, StorageFailed."""
        await self._holding.load()
        self._moving.load()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renewals.run(), name="uplink-renewals")
            for wanted in self._moving.pending:
                tasks.create_task(self._moving.fulfil(wanted), name="uplink-joining")
            await self._holding.run()

    # records

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record of the observed map; it goes up as soon as there is a session."""
        self._records.put(key, value, volatile=volatile)

    def delete(self, key: str) -> None:
        """Delete a record of the observed map."""
        self._records.delete(key)

    def discard(self, key: str) -> None:
        """Forget a record of the parent that was consumed; the parent does not hear of it."""
        self._records.discard(key)

    def received(self, kind: str) -> dict[str, bytes]:
        """The parent's records `kind` and `kind/...`, as far as they have arrived."""
        return self._records.received(kind)

    def observe(self, kind: str, observer: Observer) -> None:
        """Route records `kind` and `kind/...` that the parent sends to `observer`."""
        self._records.observe(kind, observer)

    def tunnel(self) -> Any:
        """A new stream of TunnelService.Tunnel to the parent. Raises Unavailable while there is no session."""
        held = self._holding.held
        if held is None or held.link is None:
            raise Unavailable("there is no session with the hub above")
        return held.link.tunnel()

    # what others hear; callbacks come on the loop and must not block

    def on_parent(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a new parent begins, and at the start if there is one: put everything anew."""
        self._records.on_parent(callback)

    def on_place(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the path or the hubs above changed."""
        self._holding.on_place.append(callback)

    def on_labels(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the inherited labels changed."""
        self._holding.on_labels.append(callback)

    @property
    def on_leave(self) -> Callable[[], Awaitable[None]]:
        """Withdraws what the parent before had assigned; awaited before the new one is dialed.

        It is called again, also after a restart, until it has ended without an ArboraError.
        """
        return self._holding.on_leave

    @on_leave.setter
    def on_leave(self, withdraw: Callable[[], Awaitable[None]]) -> None:
        self._holding.on_leave = withdraw

    # what there is

    @property
    def attached(self) -> bool:
        """Whether this hub has a parent, reached or not."""
        return self._holding.parents.current() is not None

    @property
    def connected(self) -> bool:
        """Whether there is a session with the parent now."""
        return self._holding.connected

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Hub ids from the parent up to the root."""
        return self._holding.place.ancestors

    @property
    def inherited_labels(self) -> Mapping[str, str]:
        """This hub's labels at its parent, with those from above."""
        return self._holding.place.labels

    @property
    def placement_epoch(self) -> int:
        """Rises with every change of the parent, and is kept."""
        return self._holding.parents.placement_epoch

    def report(self) -> Report | None:
        """For people; None: this hub is a root."""
        parents, held = self._holding.parents, self._holding.held
        current = parents.current()
        if current is None:
            wanted = next((one for one in self._moving.pending if not one.standby), None)
            if wanted is None:
                return None
            return Report(wanted.address, "starting", self._moving.pending[wanted], 0, ())
        standbys = tuple(one.address for one in parents.standbys())
        if held is None:
            return Report(current.address, "starting", "the parent before is being left", 0, standbys)
        state = held.state
        return Report(current.address, state.phase.value, state.sentence, state.epoch, standbys)

    # changes of the parent

    async def move(self, address: str, token: str, *, standby: bool = False) -> None:
        """Give this hub another parent, or a further one that stands by; repeating it changes nothing.

        address: host:port of the join port. token: a join token of kind hub; empty if it was joined before.
        Raises ArboraError if it can't be joined, and then nothing has changed.
        """
        await self._moving.move(address, token, standby=standby)

    async def detach(self) -> None:
        """Leave the parent, forget the standbys and become a root. Raises StorageFailed."""
        await self._moving.detach()
