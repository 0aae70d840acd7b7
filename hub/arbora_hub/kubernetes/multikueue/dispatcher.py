"""Kueue's dispatcher for the Workloads of our Fleets: follows them, and writes who is nominated.

    a Workload, a config or a member changed, or a turn ran out -> one pass -> nomination, Event, log line

Free GPUs that a nomination takes are reserved before it is written, so that a burst of jobs spreads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError, InvalidInput
from arbora_hub.kubernetes.collection import Key
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.multikueue.asking import Asking, Wish, read_asking, read_wish
from arbora_hub.kubernetes.multikueue.choosing import Candidate, Choice, Ground, choose
from arbora_hub.kubernetes.multikueue.controller import PACE, SOON, Mirrors
from arbora_hub.kubernetes.multikueue.kinds import (
    ADMISSION_CHECK,
    ADMISSION_MANAGER,
    DRAINING_ANNOTATION,
    EVENT,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    PATH_ANNOTATION,
    WORKLOAD,
)
from arbora_hub.kubernetes.multikueue.members import Fleets
from arbora_hub.kubernetes.multikueue.nomination import nomination
from arbora_hub.kubernetes.multikueue.ownership import Raw, fleet_of
from arbora_hub.kubernetes.multikueue.settings import ARBORA, KUEUE, Dispatch, read_settings
from arbora_hub.kubernetes.multikueue.telling import event_for, sentence
from arbora_hub.kubernetes.multikueue.turns import Forget, Nominate, Turn, Wait, step
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.placement.reservations import Reservations

log = structlog.get_logger(__name__)

EVERYBODY = ""
"""The key of no Workload: all that wait."""
TELL_SECONDS = 60.0
"""Between two Events on a Workload that nobody can take."""


@dataclass(frozen=True, slots=True)
class Check:
    """An AdmissionCheck of ours."""

    fleet: str
    clusters: tuple[str, ...]
    """What its config names."""
    dispatch: Dispatch


class Dispatcher:
    """The controller. Run it with the mirrors."""

    def __init__(
        self,
        mirrors: Mirrors,
        objects: Objects,
        fleets: Fleets,
        overruled: Callable[[str], None],
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        """overruled: hears the Fleet whose jobs somebody else nominates for. wall: seconds since the epoch."""
        self._mirrors = mirrors
        self._objects = objects
        self._fleets = fleets
        self._overruled = overruled
        self._clock = clock
        self._wall = wall
        self._workloads = mirrors[WORKLOAD]
        self._turns: dict[str, Turn] = {}
        self._waiting: set[str] = set()
        self._uids: dict[str, str] = {}
        self._told: dict[str, tuple[str, float]] = {}
        """What was last told of a Workload, and when."""
        self._reservations = Reservations()
        self._next = 0.0
        """The earliest moment at which everybody that waits is looked at again."""
        self._ground: Ground | None = None
        self._checks: Mapping[str, Check] | None = None
        self._controller = Controller("Nomination", self._pass, clock)
        self._workloads.on_change(lambda key: self._controller.add("/".join(key)))
        for kind in (MULTIKUEUE_CLUSTER, MULTIKUEUE_CONFIG, ADMISSION_CHECK):
            mirrors[kind].on_change(self._moved)
        fleets.on_change(self._moved)

    async def run(self) -> None:
        """Work until cancelled."""
        for mirror in self._mirrors.values():
            await mirror.synced()
        await self._fleets.settled()
        self._moved("")
        await self._controller.run()

    def _moved(self, _what: Key | str) -> None:
        """Members are not what they were: whoever waits may go elsewhere."""
        self._ground = self._checks = None
        self._controller.add(EVERYBODY)

    def _wake(self) -> float | None:
        now = self._clock.monotonic()
        if (rest := self._next - now) > 0:
            return rest
        self._next = now + PACE
        for key in self._waiting:
            self._controller.add(key)
        return None

    async def _pass(self, key: str) -> float | None:
        if key == EVERYBODY:
            return self._wake()
        namespace, _, name = key.partition("/")
        item = self._workloads.get(name, namespace)
        checks = self._known_checks()
        if item is None:
            self._forget(key, gone=True)
            return None
        asking = read_asking(item, checks.keys())
        if not asking.waits:
            self._forget(key, gone=asking.finished)
            return None
        check = checks[asking.check]
        self._waiting.add(key)
        self._uids[key] = asking.uid
        try:
            wish = read_wish(item)
        except InvalidInput as error:
            await self._tell(item, "NotNominated", f"its pods can't be read: {error}", good=False)
            return None
        ground = self._known_ground()
        now = self._clock.monotonic()
        self._reservations.expire(now)
        chosen = partial(self._choose, asking, wish, check, ground, now)
        concerned = {*check.clusters, *asking.nominated}
        closed = [one for one in concerned if _closed(ground, one, check)]
        away = [one for one in concerned if (known := ground.candidate(one)) is not None and known.closed]
        due = step(self._turns.get(key), asking, closed, away, check.dispatch.retry_after, chosen, now)
        match due:
            case Forget():
                self._forget(key, gone=False)
                return None
            case Wait(turn, seconds, choice):
                if turn is None:
                    self._turns.pop(key, None)
                else:
                    self._turns[key] = turn
                    if turn.overruled:
                        self._overruled(check.fleet)
                if choice is not None and not choice.clusters:
                    await self._tell(item, "NotNominated", sentence(choice), good=False)
                return seconds
            case Nominate():
                return await self._nominate(key, item, asking, wish, due, check)

    def _choose(
        self, asking: Asking, wish: Wish, check: Check, ground: Ground, now: float, tried: Mapping[str, str]
    ) -> Choice:
        self._reservations.release(asking.uid)
        return choose(
            asking.uid, wish, check.clusters, ground, self._reservations, check.dispatch.weights, tried, now
        )

    async def _nominate(
        self, key: str, item: Raw, asking: Asking, wish: Wish, due: Nominate, check: Check
    ) -> float | None:
        retry = check.dispatch.retry_after
        now = self._clock.monotonic()
        self._reservations.hold(asking.uid, wish.demand, due.choice.reserved, now, retry)
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        try:
            # managedFields say what Kueue owns; a mirror has none
            fresh = await self._objects.get(WORKLOAD, name, namespace)
            if fresh is None or str(fresh["metadata"].get("resourceVersion")) != asking.version:
                self._reservations.release(asking.uid)
                return SOON  # decided on something older; its event may already have been here
            after = await self._objects.apply(
                WORKLOAD, nomination(fresh, due.clusters), subresource="status", manager=ADMISSION_MANAGER
            )
        except ArboraError:
            self._reservations.release(asking.uid)
            raise
        self._turns[key] = replace(due.turn, version=int(after["metadata"]["resourceVersion"]))
        reason = "Nominated" if due.clusters else "NotNominated"
        await self._tell(item, reason, sentence(due.choice), good=bool(due.clusters))
        log.info("nominated", workload=key, clusters=",".join(due.clusters), why=sentence(due.choice))
        return retry if due.clusters else None

    async def _tell(self, item: Raw, reason: str, message: str, *, good: bool) -> None:
        """An Event, where it says something new; what a failed one would have said is in the log."""
        key, now = f"{item['metadata']['namespace']}/{item['metadata']['name']}", self._clock.monotonic()
        before, moment = self._told.get(key, ("", 0.0))
        # figures of free GPUs change all the time: that nobody can take it is enough now and then
        if before == message or (not good and before and now - moment < TELL_SECONDS):
            return
        self._told[key] = message, now
        if not good:
            log.info("not_nominated", workload=key, why=message)
        try:
            await self._objects.create(EVENT, event_for(item, reason, message, good=good, now=self._wall()))
        except ArboraError as error:
            log.warning("event_not_written", workload=key, why=str(error))

    def _forget(self, key: str, *, gone: bool) -> None:
        self._turns.pop(key, None)
        self._waiting.discard(key)
        if gone and (uid := self._uids.pop(key, "")):
            self._reservations.release(uid)
            self._told.pop(key, None)

    def _known_checks(self) -> Mapping[str, Check]:
        if self._checks is None:
            self._checks = {
                item["metadata"]["name"]: check
                for item in self._mirrors[ADMISSION_CHECK]
                if (check := self._check(item)) is not None and check.dispatch.by == ARBORA
            }
        return self._checks

    def _check(self, item: Raw) -> Check | None:
        fleet = fleet_of(item)
        if not fleet:
            return None
        view = self._fleets.view(fleet)
        dispatch = Dispatch()
        if view is not None and view.multikueue is not None:
            try:
                dispatch = read_settings(fleet, view.multikueue).dispatch
            except InvalidInput:
                dispatch = Dispatch(by=KUEUE)  # whose choice it is can't be read: then it is not ours
        config = self._mirrors[MULTIKUEUE_CONFIG].get(str((item["spec"].get("parameters") or {}).get("name", "")))
        clusters = (config or {}).get("spec", {}).get("clusters") or ()
        return Check(fleet, tuple(map(str, clusters)), dispatch)

    def _known_ground(self) -> Ground:
        if self._ground is None:
            views = {fleet: self._fleets.view(fleet) for fleet in self._fleets.names()}
            members = {
                (fleet, one.path): one
                for fleet, view in views.items()
                if view is not None and view.multikueue is not None
                for one in view.members
            }
            self._ground = Ground(
                Candidate(item["metadata"]["name"], member, _closed_by(item), leaving=_leaves(item))
                for item in self._mirrors[MULTIKUEUE_CLUSTER]
                if (member := members.get((fleet_of(item), _path(item)))) is not None
            )
        return self._ground


def _path(item: Raw) -> str:
    return str((item["metadata"].get("annotations") or {}).get(PATH_ANNOTATION, ""))


def _leaves(item: Raw) -> bool:
    return bool((item["metadata"].get("annotations") or {}).get(DRAINING_ANNOTATION))


def _closed_by(item: Raw) -> str:
    """Why a MultiKueueCluster takes nothing now; empty if it does."""
    if _leaves(item):
        return "is to leave the Fleet"
    conditions = (item.get("status") or {}).get("conditions") or ()
    active = next((each for each in conditions if each["type"] == "Active"), None)
    if active is None:
        return "is not connected to Kueue yet"
    return "" if active["status"] == "True" else f"is not connected to Kueue: {active.get('message', '')}"


def _closed(ground: Ground, cluster: str, check: Check) -> bool:
    """Whether a cluster must not be nominated (any more)."""
    one = ground.candidate(cluster)
    return one is None or one.leaving or one.member.place.cordoned or cluster not in check.clusters
