"""One parent, held on to: a link to it, kept up until told to let go, whatever the parent says.

    Link.run -> (refused) -> LOOP: again after a minute       anything else: wait for an operator
             -> (our own id among the hubs above) -> let go, as if refused with LOOP

Never decides to go to another parent; whoever owns it looks at `state`, `refusal` and `away_since`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import ArboraError, InvalidInput, Refused
from arbora.identity.names import Path
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.session.credential import CredentialStore
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.session.state import HINTS, LinkState, Phase
from arbora.v1 import enrollment_pb2, session_pb2
from arbora_hub.tree.parents import Place
from arbora_hub.tree.place import read_place

log = structlog.get_logger(__name__)

LOOP_SECONDS = 60.0
"""After a circle was found; the jitter lets one of two hubs that found the same one come first."""
LOOP_JITTER = 0.5


class Held:
    """The link to one parent."""

    def __init__(
        self,
        store: CredentialStore,
        exchange: Exchange,
        introduction: Introduction,
        chance: random.Random,
        place: Place,
        *,
        applied: Callable[[Applied], None],
        placed: Callable[[Path, Place], None],
        changed: Callable[[], None],
        refused: Callable[[Refused], None],
    ) -> None:
        """All callbacks come on the loop and must not block.

        applied: records of the parent came in. placed: it told where this hub stands. changed: `state` is
        another. refused: the parent will not have this hub, or a circle was found.
        """
        self._store = store
        self._exchange = exchange
        self._introduction = introduction
        self._chance = chance
        self._place = place
        self._applied = applied
        self._placed = placed
        self._changed = changed
        self._refused = refused
        self._circle = asyncio.Event()
        self._settings = asyncio.Event()
        self._farewell = ""
        self.state = LinkState(Phase.CONNECTING, "not dialed yet")
        self.refusal = enrollment_pb2.REFUSAL_NONE
        """The last one; NONE once the parent has welcomed us again."""
        self.away_since: float | None = asyncio.get_running_loop().time()
        """Loop time since when the parent is not reached; None while it is."""
        self.link: Link | None = None

    def say_on_leaving(self, word: str) -> None:
        """What the parent hears when `run` is cancelled."""
        self._farewell = word
        if self.link is not None:
            self.link.farewell = word

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._once()
            except Refused as error:
                again = error.refusal == enrollment_pb2.REFUSAL_LOOP
                self._take_refusal(error, Phase.WAITING if again else Phase.STOPPED)
            except ArboraError as error:
                # Such as an identity on disk that can't be read: the hub goes on without its parent.
                again = error.retryable
                log.warning("no link to the parent", error=str(error))
                self._say(LinkState(Phase.WAITING if again else Phase.STOPPED, str(error)))
            if not again:
                await asyncio.Event().wait()
            await asyncio.sleep(LOOP_SECONDS * (1.0 + LOOP_JITTER * self._chance.random()))

    async def _once(self) -> None:
        """One link, until it is refused. Raises ArboraError."""
        credential = await self._store.load()
        if credential is None:
            raise Refused(
                enrollment_pb2.REFUSAL_MUST_REJOIN,
                "the identity at the parent is gone",
                hint=HINTS[enrollment_pb2.REFUSAL_MUST_REJOIN],
            )
        events = LinkEvents(applied=self._received, state=self._say, welcome=self._welcomed)
        self.link = link = Link(credential, self._store, self._exchange, self._introduction, events, self._chance)
        if self._farewell:
            link.farewell = self._farewell
        self._circle.clear()
        running = asyncio.create_task(link.run(), name="uplink")
        circle = asyncio.create_task(self._circle.wait(), name="uplink-circle")
        settings = asyncio.create_task(self._follow_settings(link), name="uplink-settings")
        tasks = (running, circle, settings)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {circle}:
                task.result()
            raise Refused(
                enrollment_pb2.REFUSAL_LOOP,
                "this hub is above its own parent: the link would close a circle",
                hint=HINTS[enrollment_pb2.REFUSAL_LOOP],
            )
        finally:
            self.link = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_settings(self, link: Link) -> None:
        """Keep on disk what the parent's record `settings` says, until cancelled."""
        while True:
            await self._settings.wait()
            self._settings.clear()
            told = self._told()
            if told is not None:
                await link.trust(tuple(told.trust_bundle))
                if told.path:
                    await link.settle(told.path)

    def _received(self, applied: Applied) -> None:
        if "settings" in applied.changed:
            told = self._told()
            if told is not None and told.path and self._take_place(told.path, told.ancestors, told.labels):
                self._settings.set()
        self._applied(applied)

    def _told(self) -> session_pb2.Settings | None:
        value = self._exchange.received_value("settings")
        try:
            return session_pb2.Settings.FromString(value) if value is not None else None
        except DecodeError:
            log.warning("unreadable settings from the parent")
            return None

    def _welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._take_place(welcome.path, welcome.ancestors or (welcome.hub_id,), None)

    def _take_place(self, path: str, ancestors: object, labels: object) -> bool:
        """Tell where this hub stands; False if the parent's word makes no sense."""
        try:
            where, place = read_place(path, ancestors, labels, self._place)  # type: ignore[arg-type]
        except InvalidInput as error:
            log.warning("the parent tells a place that can't be", error=str(error))
            return False
        if self._introduction.cluster_uid in place.ancestors:
            self._circle.set()
            return False
        self._place = place
        self._placed(where, place)
        return True

    def _say(self, state: LinkState) -> None:
        if state.phase is Phase.ONLINE:
            self.away_since = None
            self.refusal = enrollment_pb2.REFUSAL_NONE
        elif self.away_since is None:
            self.away_since = asyncio.get_running_loop().time()
        self.state = state
        self._changed()

    def _take_refusal(self, error: Refused, phase: Phase) -> None:
        repeated = self.refusal == error.refusal
        self._say(LinkState(phase, f"{error} {error.hint}".strip()))
        self.refusal = error.refusal  # type: ignore[assignment]  # enums are plain ints at run time
        log.warning("the parent refuses this hub", refusal=error.refusal, error=str(error))
        if not repeated:
            self._refused(error)
