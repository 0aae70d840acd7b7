"""List and watch against a scripted API server: paging, resuming, expiry, refusals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.reflector import Raw, Reflector
from tests.unit.kubernetes.scripted_api import ScriptedApi, events, item, listing, reply


class Names:
    """A sink that keeps names and tells when it changed."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0
        self.changed = asyncio.Event()
        self._listed: set[str] = set()

    def begin(self) -> None:
        self._listed = set()

    def page(self, items: Sequence[Raw]) -> None:
        self._listed |= {each["metadata"]["name"] for each in items}

    def end(self, resource_version: str) -> None:
        self.names, self.lists = self._listed, self.lists + 1
        self.changed.set()

    def put(self, item: Raw) -> None:
        self.names.add(item["metadata"]["name"])
        self.changed.set()

    def remove(self, item: Raw) -> None:
        self.names.discard(item["metadata"]["name"])
        self.changed.set()

    async def until(self, *names: str, lists: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.names != set(names) or self.lists < lists:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def reflecting(
    scripted: ScriptedApi, path: str | None = "/api/v1/nodes"
) -> AsyncIterator[tuple[Names, Reflector]]:
    async def where() -> str | None:
        return path

    sink, api = Names(), ApiServer(scripted.access())
    reflector = Reflector(api, "nodes", where, sink, rng=random.Random(1))
    task = asyncio.create_task(reflector.run())
    try:
        yield sink, reflector
    finally:
        task.cancel()
        await asyncio.wait([task])
        await api.close()
        assert task.cancelled(), task.exception()


HOLD = events(hold=True)


async def test_a_list_comes_by_pages_and_counts_when_it_is_whole() -> None:
    script = [listing("5", "a", proceed="more"), listing("5", "b"), HOLD]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, reflector):
        await sink.until("a", "b")
        await reflector.synced.wait()
        assert sink.lists == 1
        assert [each.get("continue") for each in scripted.asked[:2]] == [None, "more"]
        assert scripted.asked[0]["limit"] == "100"


async def test_events_are_followed_from_where_the_list_ended() -> None:
    told = events(("ADDED", item("b", "6")), ("DELETED", item("a", "7")), hold=True)
    async with ScriptedApi(listing("5", "a"), told) as scripted, reflecting(scripted) as (sink, _):
        await sink.until("b")
        assert (scripted.asked[1]["watch"], scripted.asked[1]["resourceVersion"]) == ("1", "5")


async def test_a_watch_that_ends_goes_on_where_it_stopped() -> None:
    first = events(("ADDED", item("b", "6")), ("BOOKMARK", {"metadata": {"resourceVersion": "9"}}))
    script = [listing("5", "a"), first, events(("ADDED", item("c", "10")), hold=True)]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, _):
        await sink.until("a", "b", "c")
        assert [each.get("resourceVersion") for each in scripted.asked] == [None, "5", "9"]
        assert sink.lists == 1


async def test_a_watch_that_is_cut_in_mid_event_loses_nothing() -> None:
    first = events(("ADDED", item("b", "6")), cut=True)
    script = [listing("5", "a"), first, events(("ADDED", item("c", "7")), hold=True)]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, _):
        await sink.until("a", "b", "c")
        assert scripted.asked[2]["resourceVersion"] == "6"


async def test_events_may_arrive_in_any_pieces_and_be_large() -> None:
    large = {**item("large", "6"), "data": "x" * 400_000}
    small = events(("ADDED", item("b", "7")), ("ADDED", item("c", "8")), piece=7)
    script = [listing("5"), events(("ADDED", large), piece=65_000), small, HOLD]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, _):
        await sink.until("large", "b", "c")


async def test_an_expired_place_means_a_new_list() -> None:
    expired = ("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
    for answer in (events(expired), reply({"message": "too old"}, 410)):
        script = [listing("5", "a", "gone"), answer, listing("8", "a", "new"), HOLD]
        async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, _):
            await sink.until("a", "new", lists=2)


async def test_a_list_that_expires_between_pages_starts_anew() -> None:
    script = [listing("5", "a", proceed="x"), reply({"message": "expired"}, 410), listing("8", "b"), HOLD]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, _):
        await sink.until("b")


async def test_server_errors_are_waited_out() -> None:
    script = [reply("boom", 500), reply({}, 503), reply({}, 429), listing("5", "a"), reply({}, 500), HOLD]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, reflector):
        await sink.until("a")
        assert reflector.synced.is_set()


async def test_what_is_not_allowed_holds_nobody_up_and_works_once_it_is() -> None:
    script = [reply({"message": "forbidden"}, 403), listing("5", "a"), HOLD]
    async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, reflector):
        await asyncio.wait_for(reflector.synced.wait(), 5)
        await sink.until("a")


async def test_a_kind_that_is_not_served_is_empty() -> None:
    async with ScriptedApi(HOLD) as scripted, reflecting(scripted, None) as (sink, reflector):
        await asyncio.wait_for(reflector.synced.wait(), 5)
        assert (sink.names, sink.lists) == (set(), 1)
        assert not scripted.asked


async def test_a_refusal_is_said_once_until_it_is_another_one() -> None:
    missing, forbidden = reply({"message": "not found"}, 404), reply({"message": "forbidden"}, 403)
    script = [missing, missing, forbidden, forbidden, listing("5", "a"), HOLD]
    with capture_logs() as logs:
        async with ScriptedApi(*script) as scripted, reflecting(scripted) as (sink, _):
            await sink.until("a")
    said = [entry["why"] for entry in logs if entry["event"] == "collection_refused"]
    assert said == ["nodes: not found", "nodes: forbidden"]
