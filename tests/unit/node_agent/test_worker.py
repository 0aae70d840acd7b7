"""A thread for calls that may hang: whoever waits gets an answer in time, and the process ends all the same."""

from __future__ import annotations

import threading

import pytest

from arbora_agent.node_agent.worker import Hanging, Worker
from tests.support.eventually import eventually


async def test_a_call_gives_its_result() -> None:
    worker = Worker("test")
    assert await worker.call(lambda: 42, 5.0, "a number") == 42
    await worker.close()


async def test_a_call_raises_what_its_function_raises() -> None:
    worker = Worker("test")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await worker.call(fail, 5.0, "nothing")
    assert await worker.call(lambda: 1, 5.0, "a number") == 1
    await worker.close()


async def test_calls_run_on_one_thread_and_not_on_this_one() -> None:
    worker = Worker("test")
    threads = {await worker.call(threading.get_ident, 5.0, "a thread") for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    await worker.close()


async def test_a_call_that_hangs_is_given_up_and_so_are_those_after_it_until_it_comes_back() -> None:
    worker, go_on = Worker("test"), threading.Event()
    with pytest.raises(Hanging, match=r"from reading GPU-1 within 0\.05 s"):
        await worker.call(lambda: go_on.wait(10.0), 0.05, "reading GPU-1")
    with pytest.raises(Hanging, match="has not come back from an earlier call"):
        await worker.call(lambda: 1, 5.0, "reading GPU-2")
    go_on.set()

    async def works() -> bool:
        try:
            return await worker.call(lambda: True, 5.0, "reading GPU-2")
        except Hanging:
            return False

    assert await eventually(works, "the thread is free again")
    await worker.close()


async def test_an_error_of_a_call_that_nobody_waits_for_any_more_is_nobodys() -> None:
    worker, go_on = Worker("test"), threading.Event()

    def fail_late() -> None:
        go_on.wait(10.0)
        raise ValueError("late")

    with pytest.raises(Hanging):
        await worker.call(fail_late, 0.01, "something")
    go_on.set()
    await worker.close()


async def test_a_worker_that_did_nothing_closes_at_once() -> None:
    await Worker("test").close()
