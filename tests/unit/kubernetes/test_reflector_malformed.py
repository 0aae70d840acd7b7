"""What is no list, no event or no object costs a reflector a pause, and never more than that one thing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from arbora.kubernetes import reflector
from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.reflector import Raw, Reflector
from tests.support.eventually import eventually
from tests.unit.kubernetes.scripted_api import Handler, ScriptedApi, events, item, reply

HOLD = events(hold=True)


class Names:
    """A sink that keeps names, and chokes on those that it is told to."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self.names: set[str] = set()
        self.states: list[set[str]] = []
        """The names after every whole list."""
        self.bad_ends = 0
        """So many times it chokes on the end of a list."""
        self._bad = bad
        self._listed: set[str] = set()

    def begin(self) -> None:
        self._listed = set()

    def page(self, items: Sequence[Raw]) -> None:
        for each in items:
            self._listed.add(self._name(each))

    def end(self, resource_version: str) -> None:
        if self.bad_ends:
            self.bad_ends -= 1
            raise KeyError("one of those who listen")
        self.names = self._listed
        self.states.append(set(self.names))

    def put(self, item: Raw) -> None:
        self.names.add(self._name(item))

    def remove(self, item: Raw) -> None:
        self.names.discard(self._name(item))

    def _name(self, item: Raw) -> str:
        name: str = item["metadata"]["name"]
        if name in self._bad:
            raise ValueError(f"{name} is odd")
        return name


@asynccontextmanager
async def reflecting(scripted: ScriptedApi, sink: Names) -> AsyncIterator[Reflector]:
    async def where() -> str | None:
        return "/api/v1/nodes"

    api = ApiServer(scripted.access())
    mirror = Reflector(api, "nodes", where, sink, rng=random.Random(1))
    task = asyncio.create_task(mirror.run())
    try:
        yield mirror
    finally:
        task.cancel()
        await asyncio.wait([task])
        await api.close()
        assert task.cancelled(), task.exception()


def listing(version: str, *items: Any, **fields: Any) -> Handler:
    """A list with a kind; items are names, or objects as they are."""
    objects = [item(each, version) if isinstance(each, str) else each for each in items]
    body = {"kind": "NodeList", "metadata": {"resourceVersion": version}, "items": objects, **fields}
    return reply({name: value for name, value in body.items() if value != "left out"})


def watching(*lines: object) -> Handler:
    """A watch that says these lines, and stays open."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\n")
        await asyncio.Event().wait()
        return response

    return handler


NO_LISTS = {
    "HTML": reply("<html>sign in</html>"),
    "nothing": reply({}),
    "an array": reply([]),
    "another kind": listing("6", kind="Status"),
    "a kind that is no word": listing("6", kind=7),
    "no items": listing("6", items="left out"),
    "items of another kind": listing("6", items={"a": 1}),
    "no metadata": listing("6", metadata="left out"),
    "odd metadata": listing("6", metadata=["6"]),
    "no version": listing("6", metadata={}),
    "an empty version": listing("6", metadata={"resourceVersion": ""}),
}


@pytest.mark.parametrize("what", NO_LISTS)
async def test_what_is_no_list_is_not_an_empty_one(what: str) -> None:
    expired = reply({"message": "too old"}, 410)
    script = [listing("5", "a"), expired, NO_LISTS[what], listing("8", "a", "b"), HOLD]
    sink = Names()
    async with ScriptedApi(*script) as scripted, reflecting(scripted, sink):
        await eventually(lambda: sink.names == {"a", "b"}, "the next list counts")
        assert sink.states == [{"a"}, {"a", "b"}]


async def test_a_first_answer_that_is_no_list_leaves_it_unknown() -> None:
    sink = Names()
    async with ScriptedApi(reply("<html>sign in</html>")) as scripted, reflecting(scripted, sink) as mirror:
        await eventually(lambda: len(scripted.asked) > 1, "it tries again")
        assert (mirror.synced.is_set(), sink.states) == (False, [])


async def test_an_empty_list_as_go_may_write_it_is_one() -> None:
    sink = Names()
    async with ScriptedApi(listing("5", items=None), HOLD) as scripted, reflecting(scripted, sink) as mirror:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        assert sink.states == [set()]


MALFORMED: dict[str, object] = {
    "nothing": {},
    "an array": [],
    "a number": 7,
    "null": None,
    "no type": {"object": item("b", "6")},
    "no object": {"type": "ADDED"},
    "an object that is none": {"type": "ADDED", "object": "b"},
    "no metadata": {"type": "ADDED", "object": {}},
    "odd metadata": {"type": "ADDED", "object": {"metadata": ["b"]}},
    "no version": {"type": "ADDED", "object": {"metadata": {"name": "b"}}},
    "a version that is no word": {"type": "ADDED", "object": {"metadata": {"name": "b", "resourceVersion": 6}}},
    "a type that is none": {"type": ["ADDED"], "object": item("b", "6")},
    "an error without a status": {"type": "ERROR", "object": []},
    "an error with an odd code": {"type": "ERROR", "object": {"code": "many"}},
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_an_event_that_is_malformed_means_a_new_list(what: str) -> None:
    script = [listing("5", "a"), watching(MALFORMED[what]), listing("8", "a", "new"), HOLD]
    sink = Names()
    async with ScriptedApi(*script) as scripted, reflecting(scripted, sink):
        await eventually(lambda: sink.names == {"a", "new"}, "a new list")
        assert sink.states == [{"a"}, {"a", "new"}]


class Bounds(random.Random):
    """Chance that keeps the bounds which it is asked for, and lets no time pass."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append(b)
        return 0.0


async def test_watches_that_are_malformed_again_and_again_are_no_storm_of_lists() -> None:
    async def where() -> str | None:
        return "/api/v1/nodes"

    script = [each for _ in range(5) for each in (listing("5", "a"), watching({}))]
    chance = Bounds()
    async with ScriptedApi(*script, listing("8", "b"), HOLD) as scripted:
        sink, api = Names(), ApiServer(scripted.access())
        task = asyncio.create_task(Reflector(api, "nodes", where, sink, rng=chance).run())
        await eventually(lambda: sink.names == {"b"}, "the list after them")
        task.cancel()
        await asyncio.wait([task])
        await api.close()
    first = reflector.BACKOFF[0]
    assert chance.asked == [first * 2**power for power in range(5)]


async def test_an_object_that_the_sink_chokes_on_is_left_out_of_a_list_and_said() -> None:
    sink = Names(bad=["odd"])
    with capture_logs() as logs:
        script = [listing("5", "a", "odd", {}, "b"), HOLD]
        async with ScriptedApi(*script) as scripted, reflecting(scripted, sink) as mirror:
            await asyncio.wait_for(mirror.synced.wait(), 5)
            assert sink.names == {"a", "b"}
    said = [(entry["collection"], entry["object"]) for entry in logs if entry["event"] == "object_not_taken"]
    assert said == [("nodes", "odd"), ("nodes", "?")]


async def test_an_object_that_the_sink_chokes_on_does_not_end_a_watch() -> None:
    told = events(
        ("ADDED", item("odd", "6")), ("DELETED", item("odd", "7")), ("ADDED", item("b", "8")), hold=True
    )
    sink = Names(bad=["odd"])
    async with ScriptedApi(listing("5", "a"), told) as scripted, reflecting(scripted, sink):
        await eventually(lambda: sink.names == {"a", "b"}, "what comes after it")
        assert len(scripted.asked) == 2


async def test_a_sink_that_chokes_on_the_end_of_a_list_gets_another_one() -> None:
    sink = Names()
    sink.bad_ends = 1
    script = [listing("5", "a"), listing("6", "b"), HOLD]
    async with ScriptedApi(*script) as scripted, reflecting(scripted, sink) as mirror:
        await asyncio.wait_for(mirror.synced.wait(), 5)
        assert sink.states == [{"b"}]
