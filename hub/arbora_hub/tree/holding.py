"""The one task that holds on to a parent, changes it when asked, and looks for a standby when it is silent.

    hold: (withdraw the work of the one before) -> stay -> (another one is wanted) -> keep that on disk -> hold

A change counts once it is on disk. The one before hears `moved` first, and is not counted on after that.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from arbora.errors import ArboraError, InvalidInput, Refused, StorageFailed
from arbora.identity.names import Kind, Path
from arbora.session import frames
from arbora.session.link import Introduction
from arbora.session.state import Phase
from arbora.v1 import enrollment_pb2
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.tree import joining
from arbora_hub.tree.held import Held
from arbora_hub.tree.parent_store import ParentStore
from arbora_hub.tree.parents import Parent, Parents, Place, next_parent
from arbora_hub.tree.place import hub_ids
from arbora_hub.tree.records import Records

log = structlog.get_logger(__name__)

ASK_AGAIN_SECONDS = 10.0
"""Between two rounds of asking standbys, while none of them answers."""
AGAIN_SECONDS = 5.0
"""Before a change that could not be kept is tried again."""


@dataclass(frozen=True, slots=True)
class Request:
    """Another parent is wanted."""

    change: Callable[[Parents], Parents]
    sentence: str
    done: asyncio.Future[None] | None = None
    """Told the end, if somebody waits for it."""


class Holding:
    """Which parent this hub has, and the link to it."""

    def __init__(
        self,
        store: ParentStore,
        inventory: Inventory,
        journal: Journal,
        hub_id: str,
        standby_after: float,
        chance: random.Random,
    ) -> None:
        """standby_after: seconds without the parent after which a standby is asked."""
        self.store = store
        self.records = Records(self._tell_link)
        self.parents = Parents()
        self.place = Place()
        self.held: Held | None = None
        self.on_place: list[Callable[[], None]] = []
        self.on_labels: list[Callable[[], None]] = []
        self.on_leave: Callable[[], Awaitable[None]] = _nothing
        self._inventory = inventory
        self._journal = journal
        self._hub_id = hub_id
        self._standby_after = standby_after
        self._chance = chance
        self._instance = secrets.token_hex(8)
        self._request: Request | None = None
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read what was kept. Raises InvalidInput, StorageFailed."""
        self.parents = await self.store.load()
        self.place = self.parents.place
        if self.parents.current() is not None and not self.parents.leaving:
            self.records.open()
        self._inventory.stand_at(await self._kept_path())

    @property
    def connected(self) -> bool:
        """Whether there is a session with the parent now."""
        return self.held is not None and self.held.state.phase is Phase.ONLINE

    async def change(self, change: Callable[[Parents], Parents]) -> Parents:
        """Keep a change, then let it count; what was before. Raises StorageFailed and what `change` raises."""
        async with self._writing:
            before = self.parents
            after = change(before)
            if after != before:
                await self.store.save(after)
                self.parents = after
            return before

    async def switch(self, change: Callable[[Parents], Parents], sentence: str) -> None:
        """Change the parent and wait until that is kept. One caller at a time. Raises as `change` does."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A standby that was about to take over gives way: somebody has decided.
        self._request = Request(change, sentence, done)
        self._wake.set()
        await done

    def event(self, severity: int, reason: str, address: str, sentence: str) -> None:
        """Write down what happened between this hub and a parent."""
        self._journal.event(severity, reason, f"parent/{address}", sentence[:1].upper() + sentence[1:])

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self.parents.leaving:
                await self._withdraw()
            current = self.parents.current()
            if current is not None:
                await self._stay(current)
            elif self._request is None:
                await self._wake.wait()
                self._wake.clear()
            if self._request is not None:
                await self._carry_out(self._request)

    async def _stay(self, parent: Parent) -> None:
        """Hold on to this parent until another one is wanted."""
        exchange = self.records.begin()
        ids = lambda: hub_ids(self._hub_id, self._inventory)  # noqa: E731
        self.held = held = Held(
            self.store.identity(parent.slot),
            exchange,
            Introduction(Kind.HUB, self._instance, self._hub_id, ids),
            self._chance,
            self.place,
            applied=self.records.applied,
            placed=self._placed,
            changed=self._wake.set,
            refused=lambda error: self._refused(parent, error),
        )
        running = asyncio.create_task(held.run(), name="uplink-held")
        running.add_done_callback(lambda _: self._wake.set())
        silent: set[str] = set()
        try:
            while self._request is None and not running.done():
                await self._keep_place()
                wait = await self._look_around(held, silent)
                if self._request is None:
                    await self._woken(wait)
            if running.done():
                running.result()
            if self._request is not None and self._request.change(self.parents).leaving:
                held.say_on_leaving(frames.MOVED)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self.held = None

    async def _look_around(self, held: Held, silent: set[str]) -> float | None:
        """Ask standbys if the parent is silent; seconds until there is more to do, None: until woken."""
        if held.away_since is None or not self.parents.standbys():
            silent.clear()
            return None
        away = asyncio.get_running_loop().time() - held.away_since
        limit = self._standby_after
        found = next_parent(self.parents, away=away, standby_after=limit, silent=silent, refusal=held.refusal)
        if found is None:
            if away < limit:
                return limit - away
            silent.clear()
            return ASK_AGAIN_SECONDS
        slot = found.slot
        if not await joining.answers(self.store.identity(slot)):
            log.info("standby does not answer", parent=found.address)
            silent.add(slot)
        elif self._request is None and not self.connected:
            self._request = Request(
                lambda before: before.moved_to(slot),
                f"the parent was not reached for {away:.0f} s: this hub moves to {found.address}, which stood by",
            )
        return 0.0

    async def _carry_out(self, request: Request) -> None:
        """Change the parent. What can't be kept on disk is not done."""
        self._request = None
        try:
            before = await self.change(request.change)
        except ArboraError as error:
            log.warning("the parent can't be changed", error=str(error))
            if request.done is not None and not request.done.done():
                request.done.set_exception(error)
            else:
                await asyncio.sleep(AGAIN_SECONDS)
            return
        after = self.parents
        if after.placement_epoch != before.placement_epoch:
            self.records.end()
            self.event(NORMAL, "HubMoved", _address(after) or _address(before), request.sentence)
            self._placed(await self._kept_path(), after.place)
        log.info("parent changed", parent=_address(after), epoch=after.placement_epoch, why=request.sentence)
        for gone in set(before.known) - set(after.known):
            await self.store.forget(gone.slot)
        if request.done is not None and not request.done.done():
            request.done.set_result(None)

    async def _withdraw(self) -> None:
        """Take back what the parent before had assigned; as long as it takes, for nothing may run twice."""
        while self.parents.leaving:
            try:
                await self.on_leave()
                await self.change(Parents.left)
            except ArboraError as error:
                log.warning("the work of the parent before is not withdrawn yet", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _woken(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _placed(self, path: Path, place: Place) -> None:
        """This hub stands somewhere, perhaps elsewhere than before: whoever is below it is told."""
        before, self.place = self.place, place
        moved = self._inventory.stand_at(path)
        if moved or place.ancestors != before.ancestors:
            log.info("place in the tree", path=str(path), hubs_above=len(place.ancestors))
            for callback in self.on_place:
                callback()
        if place.labels != before.labels:
            for callback in self.on_labels:
                callback()
        self._wake.set()

    async def _keep_place(self) -> None:
        """A hub that starts while it is cut off still knows where it stands."""
        place = self.place
        if place != self.parents.place:
            try:
                await self.change(lambda before: replace(before, place=place))
            except StorageFailed as error:
                log.warning("the place in the tree is not kept", error=str(error))

    async def _kept_path(self) -> Path:
        """The path at the present parent, as it was last told."""
        current = self.parents.current()
        try:
            credential = await self.store.identity(current.slot).load() if current is not None else None
            return Path.parse(credential.path) if credential is not None else Path()
        except InvalidInput as error:
            log.warning("the kept identity at the parent is of no use", error=str(error))
            return Path()

    def _refused(self, parent: Parent, error: Refused) -> None:
        loop = error.refusal == enrollment_pb2.REFUSAL_LOOP
        if loop:
            # Not below that parent after all; else two hubs that found the same circle would both wait for ever.
            self._placed(self._inventory.own_path, replace(self.place, ancestors=()))
        self.event(
            WARNING, "HubLoop" if loop else "ParentRefused", parent.address, f"{error}. {error.hint}".strip()
        )

    def _tell_link(self) -> None:
        if self.held is not None and self.held.link is not None:
            self.held.link.wake()


def _address(parents: Parents) -> str:
    current = parents.current()
    return current.address if current is not None else ""


async def _nothing() -> None:
    return
