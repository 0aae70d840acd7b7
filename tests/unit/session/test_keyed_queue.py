"""The queue of workloads, and the clock that drives it."""

from __future__ import annotations

import asyncio

from arbora.clock import LoopClock, ManualClock, wait_for
from arbora.keyed_queue import KeyedQueue
from tests.unit.agent.stage import quiet, until


async def test_a_key_waits_only_once() -> None:
    queue = KeyedQueue(ManualClock())
    for key in ("a", "a", "b", "a"):
        queue.add(key)
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    waiting = asyncio.create_task(queue.take())
    await quiet()
    assert not waiting.done()
    waiting.cancel()


async def test_a_key_that_a_worker_holds_comes_again_only_after_it_is_done() -> None:
    queue = KeyedQueue(ManualClock())
    queue.add("a")
    assert await queue.take() == "a"
    queue.add("a")
    waiting = asyncio.create_task(queue.take())
    await quiet()
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"


async def test_the_earliest_moment_counts_and_asking_for_it_now_counts_more() -> None:
    clock = ManualClock()
    queue = KeyedQueue(clock)
    running = asyncio.create_task(queue.run())
    queue.add_at("a", 10)
    queue.add_at("a", 5)
    queue.add_at("a", 8)
    await quiet()
    clock.advance(4.9)
    taken = asyncio.create_task(queue.take())
    await quiet()
    assert not taken.done()
    clock.advance(0.1)
    assert await taken == "a"
    queue.done("a")
    queue.add_at("a", 20)
    queue.add("a")
    assert await queue.take() == "a"
    queue.done("a")
    clock.advance(100)
    again = asyncio.create_task(queue.take())
    await quiet()
    assert not again.done()
    again.cancel()
    running.cancel()


async def test_a_discarded_key_does_not_come() -> None:
    clock = ManualClock()
    queue = KeyedQueue(clock)
    queue.add("a")
    queue.add("b")
    queue.discard("a")
    assert await queue.take() == "b"


async def test_several_workers_share_the_keys() -> None:
    queue = KeyedQueue(ManualClock())
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await quiet()
    for key in ("a", "b", "c"):
        queue.add(key)
    assert sorted(await asyncio.gather(*workers)) == ["a", "b", "c"]


async def test_a_manual_clock_wakes_who_waits_in_order_and_forgets_who_left() -> None:
    clock, woken = ManualClock(), list[str]()

    async def wait(name: str, moment: float) -> None:
        await clock.wait_until(moment)
        woken.append(name)

    tasks = [asyncio.create_task(wait(name, moment)) for name, moment in (("c", 3), ("a", 1), ("b", 2))]
    await quiet()
    tasks[0].cancel()
    await quiet()
    clock.advance(2)
    await until(lambda: woken == ["a", "b"])
    assert clock.next_moment() is None


async def test_an_event_ends_the_wait_for_a_moment() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_for(event, ManualClock(), 1_000))
    await quiet()
    event.set()
    await waiting
    await wait_for(asyncio.Event(), LoopClock(), 0)
