"""An event loop whose time is made up: when nothing is ready and nothing outside is under way, it jumps.

    something is ready         -> run it, as any loop does
    a thread works for us      -> wait for it in real time; virtual time stands still
    else                       -> the time of the next timer is now

What runs on it needs no clock of its own: `loop.time()`, `asyncio.sleep` and `asyncio.timeout` all follow. Work
in executors is known by itself; other threads' work must be wrapped in `outside`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

START = 1_000.0
"""Loop time at the beginning, in seconds."""
STUCK_SECONDS = 15.0
"""Real seconds for which a thread may work, or nothing at all may be due, before the test is called stuck."""


class _Jumping(selectors.DefaultSelector):
    """A selector that lets time pass instead of waiting for it."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.loop.threads or timeout is None:
            ready = super().select(STUCK_SECONDS)
            if not ready:
                raise AssertionError(f"{self.loop.threads} threads, next timer in {timeout}: nothing happens")
            return ready
        self.loop.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self.now = START
        self.threads = 0
        """Pieces of work that threads do for this loop now."""
        selector = _Jumping()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now

    @contextmanager
    def outside(self) -> Iterator[None]:
        """While the block lasts a thread works for this loop, so time stands still."""
        self.threads += 1
        try:
            yield
        finally:
            self.threads -= 1

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _future: object) -> None:
        self.threads -= 1


def virtual_loop() -> VirtualTimeLoop:
    """The running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `main()` gives, run on such a loop from its beginning to its end. Fails if it leaves a task behind."""

    async def run() -> T:
        result = await main()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left over: {sorted(task.get_name() for task in left)}"
        virtual_loop().threads += 1  # the executor's threads end in real time
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())
