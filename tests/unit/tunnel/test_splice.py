"""Two sides that are joined: each way ends for itself, and what goes wrong on one ends both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import DeadlineExceeded, Unavailable
from arbora.tunnel.splice import IDLE_SECONDS, Passed, splice
from tests.support.virtual_time import in_virtual_time
from tests.unit.tunnel.sides import Side, turns


class Joined:
    """Two sides and the task that joins them."""

    def __init__(self) -> None:
        self.client, self.server, self.passed = Side(), Side(), Passed()
        self.task = asyncio.create_task(splice(self.client, self.server, self.passed))

    @property
    def counts(self) -> tuple[int, int]:
        return self.passed.forth, self.passed.back

    @property
    def aborted(self) -> tuple[bool, bool]:
        return self.client.aborted, self.server.aborted


def virtually(story: Callable[[Joined], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(Joined())

    in_virtual_time(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_bytes_go_both_ways_and_are_counted() -> None:
    async def story(it: Joined) -> None:
        it.client.say(b"GET /", b"pods", b"")
        it.server.say(b"200", b"")
        await it.task
        assert (it.server.text, it.client.text) == (b"GET /pods", b"200")
        assert it.counts == (9, 3)
        assert it.aborted == (False, False)

    virtually(story)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_way_that_ends_leaves_the_other_open(first: str) -> None:
    async def story(it: Joined) -> None:
        one, other = (it.client, it.server) if first == "client" else (it.server, it.client)
        one.say(b"all that I have", b"")
        await turns(lambda: other.ended, "the other hears that no more comes")
        assert not one.ended
        other.say(b"an answer", b" that is long")
        await turns(lambda: one.text == b"an answer that is long", "the answer still comes")
        assert not it.task.done()
        other.say(b"")
        await it.task
        assert one.ended
        assert it.aborted == (False, False)

    virtually(story)


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    st.lists(st.binary(min_size=1, max_size=50), max_size=8),
)
def test_every_byte_arrives_in_order_and_is_counted_once(forth: list[bytes], back: list[bytes]) -> None:
    async def story(it: Joined) -> None:
        it.client.say(*forth, b"")
        it.server.say(*back, b"")
        await it.task
        assert (it.server.text, it.client.text) == (b"".join(forth), b"".join(back))
        assert it.counts == (len(it.server.text), len(it.client.text))

    virtually(story)


@pytest.mark.parametrize("gone", ["client", "server"])
@pytest.mark.parametrize("how", ["reading", "writing", "ending"])
def test_an_error_on_one_side_ends_both(gone: str, how: str) -> None:
    async def story(it: Joined) -> None:
        lost, other = (it.client, it.server) if gone == "client" else (it.server, it.client)
        if how == "reading":
            lost.fail(Unavailable("it is gone"))
        else:
            lost.broken = True
            other.say(b"" if how == "ending" else b"hello")
        with pytest.raises(Unavailable, match="gone"):
            await it.task
        assert it.aborted == (True, True)

    virtually(story)


def test_an_error_on_both_sides_at_once_is_one_error() -> None:
    async def story(it: Joined) -> None:
        it.client.fail(Unavailable("the client is gone"))
        it.server.fail(Unavailable("the server is gone"))
        with pytest.raises(Unavailable, match="gone"):
            await it.task
        assert it.aborted == (True, True)

    virtually(story)


def test_five_minutes_without_a_byte_end_both() -> None:
    async def story(it: Joined) -> None:
        begin = now()
        with pytest.raises(DeadlineExceeded, match="idle for 300 s"):
            await it.task
        assert now() - begin == pytest.approx(IDLE_SECONDS)
        assert it.aborted == (True, True)

    virtually(story)


@pytest.mark.parametrize("speaker", ["client", "server"])
def test_a_byte_either_way_starts_the_five_minutes_anew(speaker: str) -> None:
    async def story(it: Joined) -> None:
        begin = now()
        for _ in range(3):
            await asyncio.sleep(IDLE_SECONDS - 1)
            getattr(it, speaker).say(b"x")
        with pytest.raises(DeadlineExceeded):
            await it.task
        assert now() - begin == pytest.approx(3 * (IDLE_SECONDS - 1) + IDLE_SECONDS)

    virtually(story)


def test_a_half_that_is_left_alone_idles_out_too() -> None:
    async def story(it: Joined) -> None:
        begin = now()
        it.client.say(b"")
        with pytest.raises(DeadlineExceeded):
            await it.task
        assert now() - begin == pytest.approx(IDLE_SECONDS)

    virtually(story)


def test_a_side_that_takes_nothing_for_five_minutes_ends_both() -> None:
    async def story(it: Joined) -> None:
        begin = now()
        it.server.room.clear()
        it.client.say(b"x", b"y")
        with pytest.raises(DeadlineExceeded):
            await it.task
        assert now() - begin == pytest.approx(IDLE_SECONDS)
        assert it.server.heard == []

    virtually(story)


def test_how_long_it_may_idle_is_an_argument() -> None:
    async def main() -> None:
        begin = now()
        with pytest.raises(DeadlineExceeded, match=r"idle for 1\.5 s"):
            await splice(Side(), Side(), Passed(), 1.5)
        assert now() - begin == pytest.approx(1.5)

    in_virtual_time(main)


def test_whoever_reads_slowly_makes_the_other_wait() -> None:
    async def story(it: Joined) -> None:
        it.server.room.clear()
        it.client.say(*[b"x" * 100] * 50)
        await asyncio.sleep(10.0)
        assert it.client.reads == 1, "one piece is under way, and no further one is read"
        it.server.room.set()
        await turns(lambda: len(it.server.text) == 5000, "all comes once there is room")
        it.client.say(b"")
        it.server.say(b"")
        await it.task

    virtually(story)


@pytest.mark.parametrize("moment", ["idle", "while a side takes nothing", "half closed"])
def test_a_join_that_is_cancelled_gives_both_sides_up(moment: str) -> None:
    async def story(it: Joined) -> None:
        if moment == "while a side takes nothing":
            it.client.room.clear()
            it.server.say(b"x")
        elif moment == "half closed":
            it.client.say(b"")
        await asyncio.sleep(1.0)
        it.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await it.task
        assert it.aborted == (True, True)

    virtually(story)
