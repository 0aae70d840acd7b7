"""The accepting end of a session: however it ends, its last word is heard if the peer listens at all.

A write takes a second of virtual time here. As with grpc, one that is abandoned spoils the stream, and so do two
at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.session.accepted import FAREWELL_SECONDS, Accepted
from arbora.session.frames import goodbye
from arbora.v1 import session_pb2 as pb
from tests.support.virtual_time import in_virtual_time

WRITE_SECONDS = 1.0


class Stream:
    """What is used of a ServicerContext."""

    def __init__(self) -> None:
        self.written: list[str] = []
        """The kinds of the frames that have gone out."""
        self.deaf = False
        """The peer reads nothing any more."""
        self.gone = asyncio.Event()
        self._writing = False
        self._spoilt = False

    async def read(self) -> Any:
        await self.gone.wait()
        return grpc.aio.EOF

    async def write(self, frame: pb.Down) -> None:
        if self._writing or self._spoilt:
            raise RuntimeError("too many operations")
        self._writing = True
        try:
            await (asyncio.Event().wait() if self.deaf else asyncio.sleep(WRITE_SECONDS))
        except asyncio.CancelledError:
            self._spoilt = True
            raise
        finally:
            self._writing = False
        self.written.append(frame.WhichOneof("frame") or "heartbeat")


class Party:
    """A child."""

    name = "edge-7"

    def __init__(self) -> None:
        self.exchange = Exchange(7)
        self.heard: float | None = None


class Session:
    """A session that carries one record down."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.party = Party()
        self.party.exchange.resume([])
        self.party.exchange.put("settings", b"new")
        self.accepted = Accepted(self.party, 1, "instance", self.stream, 10.0, _ignore)  # type: ignore[arg-type]
        self.task: asyncio.Task[str] | None = None

    def begin(self) -> None:
        self.task = asyncio.create_task(self.accepted.run(pb.Welcome(path="edge-7")))

    def end(self) -> None:
        self.accepted.end(goodbye(0, "the hub stops"))

    async def sentence(self) -> str:
        """How it ended."""
        assert self.task is not None
        return await self.task


def _ignore(party: Party, applied: Applied) -> None:
    pass


def virtually(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    in_virtual_time(main)


@pytest.mark.parametrize(
    ("moment", "before"),
    [
        (0.5, ["welcome"]),
        (1.5, ["welcome", "batch"]),
        (100.0, ["welcome", "batch", "batch"]),
    ],
    ids=["during Welcome", "during a batch", "while nothing is written"],
)
def test_the_last_word_comes_after_the_frame_that_is_under_way(moment: float, before: list[str]) -> None:
    async def story() -> None:
        session = Session()
        session.begin()
        await asyncio.sleep(moment)
        session.end()
        assert await session.sentence() == "the hub stops"
        assert session.stream.written == [*before, "goodbye"]

    virtually(story)


def test_what_would_have_come_next_is_left_out() -> None:
    async def story() -> None:
        session = Session()
        session.begin()
        await asyncio.sleep(1.5)
        session.party.exchange.put("settings", b"newer")
        session.accepted.wake()
        session.end()
        await session.sentence()
        assert session.stream.written == ["welcome", "batch", "goodbye"]

    virtually(story)


def test_one_that_was_ended_before_it_began_hears_only_that() -> None:
    async def story() -> None:
        session = Session()
        session.end()
        session.begin()
        assert await session.sentence() == "the hub stops"
        assert session.stream.written == ["goodbye"]

    virtually(story)


@pytest.mark.parametrize("moment", [0.5, 1.5, 100.0])
def test_a_peer_that_reads_nothing_holds_nobody_up(moment: float) -> None:
    async def story() -> None:
        session = Session()
        session.begin()
        await asyncio.sleep(min(moment, 0.1))
        session.stream.deaf = True
        await asyncio.sleep(moment)
        begin = asyncio.get_running_loop().time()
        session.end()
        await session.sentence()
        assert asyncio.get_running_loop().time() - begin <= 2 * FAREWELL_SECONDS

    virtually(story)


def test_a_peer_that_does_not_take_its_welcome_is_cut_after_a_while() -> None:
    async def story() -> None:
        session = Session()
        session.stream.deaf = True
        session.begin()
        assert await session.sentence() == "the stream was cut"
        assert session.stream.written == []

    virtually(story)


def test_where_nobody_would_hear_a_last_word_it_ends_at_once() -> None:
    async def story() -> None:
        session = Session()
        session.begin()
        await asyncio.sleep(1.5)
        session.accepted.end(None)
        begin = asyncio.get_running_loop().time()
        assert await session.sentence() == "the stream was cut"
        assert asyncio.get_running_loop().time() == begin

    virtually(story)


def test_a_child_that_is_gone_ends_it() -> None:
    async def story() -> None:
        session = Session()
        session.begin()
        await asyncio.sleep(10.0)
        session.stream.gone.set()
        assert await session.sentence() == "the stream was lost"

    virtually(story)
