"""A thread for calls that block, and may hang: a broken device can hold the driver for ever.

One thread does one call after the other. Whoever waits for a call waits at most so long; while the thread hangs,
further calls fail at once, and once it is free again they go on. The thread ends with the process, since one that
hangs in the kernel can't be ended: that is why this is not the executor of the standard library, which would keep
the process from ending.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from arbora.errors import ArboraError

T = TypeVar("T")


class Hanging(ArboraError):
    """The driver does not come back from a call; a repetition may find it back."""

    reason = "DRIVER_HANGS"
    retryable = True


class Worker:
    """One thread. `call` from one event loop only."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy_with: asyncio.Future[Any] | None = None

    async def call(self, function: Callable[[], T], seconds: float, what: str) -> T:
        """The result of `function`. Raises what it raises, or Hanging after `seconds`; what: for the error."""
        if self._busy_with is not None and not self._busy_with.done():
            raise Hanging(f"the driver has not come back from an earlier call, so {what} is not asked")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        # Whoever waited may be gone when the call comes back; then its error is nobody's.
        done.add_done_callback(lambda late: late.cancelled() or late.exception())
        self._busy_with = done

        def run() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                _settle(loop, done, None, error)
            else:
                _settle(loop, done, result, None)

        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(run)
        await asyncio.wait((done,), timeout=seconds)
        if not done.done():
            raise Hanging(f"the driver has not come back from {what} within {seconds:g} s")
        return done.result()

    async def close(self, seconds: float = 1.0) -> None:
        """End the thread, unless it hangs."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._calls.put(None)
        await asyncio.to_thread(thread.join, seconds)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _settle(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    def settle() -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop has ended meanwhile: nobody waits any more
