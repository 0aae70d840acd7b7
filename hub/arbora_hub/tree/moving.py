"""Who wants which parent: an operator (`arbora hub move`), or the settings at the start.

    a token -> join there first -> `Holding.switch`        nothing changes while the new parent can't be joined

One change at a time. Which identity is kept where is `joining.py`, what happens to the link `holding.py`.
"""

from __future__ import annotations

import asyncio
import random

import structlog

from arbora.errors import ArboraError, Conflict, InvalidInput, NotFound
from arbora.session.backoff import Backoff
from arbora.session.credential import Credential
from arbora_hub.journal import WARNING
from arbora_hub.settings import HubSettings
from arbora_hub.tree import joining
from arbora_hub.tree.holding import Holding
from arbora_hub.tree.joining import Wish
from arbora_hub.tree.parents import Parent, Parents

log = structlog.get_logger(__name__)


class Moving:
    """Carries wishes for parents out."""

    def __init__(self, settings: HubSettings, holding: Holding, hub_id: str, chance: random.Random) -> None:
        self._settings = settings
        self._holding = holding
        self._hub_id = hub_id
        self._chance = chance
        self._one = asyncio.Lock()
        self.pending: dict[Wish, str] = {}
        """What the settings ask for and is not done yet, with the sentence that says why."""

    def load(self) -> None:
        """Read the wishes; call it after the parents are known. Raises InvalidInput."""
        wanted = joining.wishes(self._settings, self._holding.parents)
        self.pending = dict.fromkeys(wanted, "not tried yet")

    async def move(self, address: str, token: str, *, standby: bool = False) -> None:
        """Give this hub another parent, or a further one that stands by; repeating it changes nothing.

        address: host:port of the join port. token: a join token for a hub; empty if it was joined before.
        Raises ArboraError if it can't be joined, and then nothing has changed.
        """
        async with self._one:
            if standby and self._holding.parents.current() is None:
                raise Conflict("this hub has no parent to stand by for", hint="Join a parent first.")
            if not token:
                known = self._holding.parents.at(address)
                if known is None or standby:
                    raise NotFound(
                        f"this hub has not joined {address} yet",
                        hint="Make a token there: arbora join-token create --kind hub",
                    )
                await self._go_to(known)
                return
            wanted = joining.wish(address, token, standby=standby)
            if not standby:
                self.pending = {one: why for one, why in self.pending.items() if one.standby}
            await self._take(wanted, ("", await self._name()))

    async def detach(self) -> None:
        """Leave the parent, forget the standbys and become a root. Raises StorageFailed."""
        async with self._one:
            self.pending = {}
            if self._holding.parents.known:
                await self._holding.switch(Parents.detached, "this hub left its parent and is a root")

    async def fulfil(self, wanted: Wish) -> None:
        """Join what the settings ask for, as long as it takes, but not against a refusal."""
        backoff = Backoff()
        while wanted in self.pending:
            try:
                async with self._one:
                    if wanted in self.pending:
                        await self._take(wanted, (self._settings.name,))
                        self.pending.pop(wanted, None)
            except ArboraError as error:
                if wanted not in self.pending:
                    return
                first = self.pending[wanted] != str(error)
                self.pending[wanted] = str(error)
                if first:
                    log.warning("not joined yet", parent=wanted.address, error=str(error))
                    sentence = f"{error}. {error.hint}".strip()
                    self._holding.event(WARNING, "ParentNotJoined", wanted.address, sentence)
                if not error.retryable:
                    return
                await asyncio.sleep(error.retry_after or backoff.next(self._chance.random()))

    async def _take(self, wanted: Wish, names: tuple[str, ...]) -> None:
        """Join a parent, then hold on to it unless it only stands by. Raises ArboraError."""
        parent = self._holding.parents.of_slot(wanted.token.id)
        if parent is not None:
            if not wanted.standby:
                await self._go_to(parent)
            return
        credential = await joining.join(wanted, self._holding.store, names, self._hub_id)
        log.info("joined", parent=wanted.address, path=credential.path, standby=wanted.standby)
        if wanted.standby:
            await self._holding.change(lambda before: before.joined(wanted.parent))
            return
        kept = await self._kept()
        if kept is not None and set(kept.bundle) & set(credential.bundle):
            same = f"this hub joined {wanted.address} again as {credential.path}"
            await self._holding.switch(lambda before: before.rejoined(wanted.parent), same)
        else:
            await self._holding.switch(
                lambda before: before.replaced_by(wanted.parent),
                f"this hub is now {credential.path} below {wanted.address}",
            )

    async def _go_to(self, parent: Parent) -> None:
        if parent.slot != self._holding.parents.present:
            await self._holding.switch(
                lambda before: before.moved_to(parent.slot), f"this hub moves to {parent.address}, a standby"
            )

    async def _name(self) -> str:
        """What this hub is called now."""
        kept = await self._kept()
        return kept.name if kept is not None else self._settings.name

    async def _kept(self) -> Credential | None:
        """The identity at the present parent."""
        current = self._holding.parents.current()
        try:
            return await self._holding.store.identity(current.slot).load() if current is not None else None
        except InvalidInput as error:
            log.warning("the kept identity at the parent is of no use", error=str(error))
            return None
