"""Keeps one collection of the API server mirrored into a sink: list by pages, then watch, for ever.

For: `cluster.py`, one reflector per collection. It resumes a broken watch where it stopped, lists anew when
the API server no longer knows that place (410) or says what is no event, and backs off with full jitter while
the API server is away or refuses. An object that the sink chokes on is logged and left out. It must not know
what the objects mean: a sink trims each one at once, so that a large list is never held whole.
Source of the procedure: Kubernetes API concepts, "Efficient detection of changes".
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn, Protocol

import structlog

from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.failures import ClusterUnavailable, ObjectRejected, failure

log = structlog.get_logger(__name__)

PAGE = 100
"""Objects per page of a list."""
WATCH_SECONDS = (240, 480)
"""A watch is asked to end after a random time in between, so that watches don't end together."""
IDLE = 150.0
"""Seconds of silence after which a watch is taken for dead; bookmarks come about every minute."""
BACKOFF = (0.1, 30.0)
"""First and longest bound of the random pause after a failure, in seconds."""

Raw = Mapping[str, Any]


class Sink(Protocol):
    """Takes the objects of one collection, one at a time. What it raises for one does not keep others from it."""

    def begin(self) -> None:
        """A list starts (perhaps anew)."""
        ...

    def page(self, items: Sequence[Raw]) -> None:
        """Some objects of that list."""
        ...

    def end(self, resource_version: str) -> None:
        """The list is complete as of `resource_version`: what it did not name is gone."""
        ...

    def put(self, item: Raw) -> None:
        """An object appeared or changed."""
        ...

    def remove(self, item: Raw) -> None:
        """An object is gone."""
        ...


class _Expired(Exception):
    """The API server no longer knows the place where we would go on."""


class _Malformed(Exception):
    """A watch says what is no event, so what else it said is not to be relied on."""


class Reflector:
    """Mirrors one collection. `path` gives its URL path, or None while it isn't served."""

    def __init__(
        self,
        api: ApiServer,
        name: str,
        path: Callable[[], Awaitable[str | None]],
        sink: Sink,
        *,
        selector: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.synced = asyncio.Event()
        """Set once the sink was filled, or is known to stay empty for now."""
        self._api = api
        self._path = path
        self._sink = sink
        self._selector = dict(selector or {})
        self._rng = rng or random.Random()
        self._failures = 0
        self._malformed = 0
        """Watches in a row that were."""
        self._refusal = ""
        """Why it was last refused, which is said once."""

    async def run(self) -> None:
        """Mirror until cancelled."""
        place: tuple[str, str] | None = None
        while True:
            try:
                if place is None:
                    place = await self._list()
                else:
                    place = await self._watch(*place)
            except _Expired:
                log.info("list_expired", collection=self.name)
                place = None
                await self._pause()
            except _Malformed as error:
                log.warning("watch_malformed", collection=self.name, why=str(error))
                place = None
                # The list in between worked, so that by itself would not slow it down.
                self._failures, self._malformed = self._malformed, self._malformed + 1
                await self._pause()
            except ClusterUnavailable as error:
                log.info("collection_unavailable", collection=self.name, why=error.message)
                await self._pause()
            except ObjectRejected as error:
                # Not allowed, or not served any more: others must not wait for it; it may come back.
                if error.message != self._refusal:
                    self._refusal = error.message
                    log.warning("collection_refused", collection=self.name, why=error.message)
                self.synced.set()
                place = None
                await self._pause()
            except Exception:
                # A sink that fails as a whole, or a mistake of ours: the next list may go well.
                log.exception("collection_failed", collection=self.name)
                place = None
                await self._pause()

    async def _list(self) -> tuple[str, str]:
        path = await self._path()
        if path is None:
            self._sink.begin()
            self._sink.end("")
            raise ObjectRejected(f"{self.name} are not served by this cluster")
        self._sink.begin()
        proceed = ""
        while True:
            params = {**self._selector, "limit": str(PAGE), **({"continue": proceed} if proceed else {})}
            answer = await self._api.request("GET", path, params=params, deadline=30.0)
            if answer.status == 410:
                raise _Expired
            if not answer.ok:
                raise failure(answer.status, answer.body, self.name)
            items, version, proceed = _page(answer.body, self.name)
            for item in items:
                self._give(lambda each: self._sink.page((each,)), item)
            if not proceed:
                self._sink.end(version)
                self.synced.set()
                self._failures = 0
                self._refusal = ""
                return path, version

    async def _watch(self, path: str, version: str) -> tuple[str, str]:
        """Follow from `version`; return where the next watch goes on. A break in mid-stream loses nothing."""
        params = {
            **self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(self._rng.randint(*WATCH_SECONDS)),
        }
        began = version
        try:
            async with aclosing(self._api.watch(path, params, idle=IDLE)) as events:
                async for event in events:
                    what, item = _event(event)
                    if what == "ERROR":
                        _raise(item, self.name)
                    version = _version(item)
                    self._take(what, item)
        except ClusterUnavailable as error:
            log.info("watch_broke", collection=self.name, why=error.message)
        if version == began:
            # Ended without a word: at once again would be a storm if every watch ends so.
            await self._pause()
        else:
            self._failures = self._malformed = 0
        return path, version

    def _take(self, what: str, item: Raw) -> None:
        if what in ("ADDED", "MODIFIED"):
            self._give(self._sink.put, item)
        elif what == "DELETED":
            self._give(self._sink.remove, item)

    def _give(self, take: Callable[[Raw], None], item: Raw) -> None:
        """Let the sink take one object."""
        try:
            take(item)
        except Exception:
            log.exception("object_not_taken", collection=self.name, object=_named(item))

    async def _pause(self) -> None:
        """Wait a random time, longer on average with each failure in a row (full jitter)."""
        first, longest = BACKOFF
        bound = min(longest, first * 2 ** min(self._failures, 16))
        self._failures += 1
        await asyncio.sleep(self._rng.uniform(0, bound))


def _page(body: Raw, name: str) -> tuple[Sequence[Raw], str, str]:
    """Objects, version and whether there are more, of what came in place of a list. Raises ClusterUnavailable."""
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    items = body.get("items", "none")
    if items is None:
        # as Go writes a list that was never filled
        items = []
    if not (
        isinstance(metadata, Mapping)
        and isinstance(items, list)
        and isinstance(version, str)
        and version
        and str(body.get("kind", "List")).endswith("List")
    ):
        raise ClusterUnavailable(
            f"the API server answers with no list of {name}", hint="Is there a proxy in front of it?"
        )
    return items, version, str(metadata.get("continue") or "")


def _event(event: object) -> tuple[str, Raw]:
    """Type and object. Raises _Malformed."""
    if isinstance(event, Mapping):
        what, item = event.get("type"), event.get("object")
        if isinstance(what, str) and isinstance(item, Mapping):
            return what, item
    raise _Malformed("it has no type and object")


def _version(item: Raw) -> str:
    """Raises _Malformed."""
    metadata = item.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    if not isinstance(version, str) or not version:
        raise _Malformed("its object has no version")
    return version


def _named(item: object) -> str:
    """For the log."""
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    return str(metadata.get("name", "?"))[:300] if isinstance(metadata, Mapping) else "?"


def _raise(status: Raw, name: str) -> NoReturn:
    code = status.get("code") or 500
    if not isinstance(code, int):
        raise _Malformed("its error has no code")
    if code == 410:
        raise _Expired
    if code in (403, 404):
        raise failure(code, status, name)
    raise ClusterUnavailable(f"the watch of {name} ended: {status.get('message', code)}")
