"""The one writer of a stream: sends what the exchange has to say, then a heartbeat when it is time.

Used by both ends. grpc destroys a stream on which two writes overlap, and one on which a write was
abandoned; so there is one writer per stream, and a write that takes too long ends the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from arbora.errors import DeadlineExceeded
from arbora.mirror.exchange import Exchange, Frame

WRITE_SECONDS = 10.0
"""A peer that reads nothing for so long is too slow; the session ends and resumes later."""


class Writer:
    """Sends frames of one exchange over one stream."""

    __slots__ = ("_beat", "_exchange", "_finished", "_limit", "_send", "_waiting", "last_sent")

    def __init__(
        self, exchange: Exchange, send: Callable[[Frame | None], Awaitable[None]], max_frame_bytes: int
    ) -> None:
        """send: writes one frame; None is an empty one, a heartbeat."""
        self._exchange = exchange
        self._send = send
        self._limit = max_frame_bytes - 4096
        self._waiting: asyncio.Future[None] | None = None  # an Event would cost each idle session 1 kB
        self._beat = False
        self._finished = False
        self.last_sent = 0.0
        """By the loop's clock; 0: nothing yet."""

    def wake(self) -> None:
        """The exchange may have something to say."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def beat(self) -> None:
        """Send something soon, be it nothing."""
        self._beat = True
        self.wake()

    def finish(self) -> None:
        """Send nothing more once the frame that is under way has gone out; then `run` returns."""
        self._finished = True
        self.wake()

    async def run(self) -> None:
        """Until `finish`, or cancelled.

        Raises DeadlineExceeded if the peer reads nothing, grpc's error if it is gone.
        """
        clock = asyncio.get_running_loop().time
        while not self._finished:
            frame = self._exchange.next_frame(self._limit)
            if frame is None and not self._beat:
                # Nothing can be missed: between the question and this line nobody else runs.
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
                self._waiting = None
                continue
            self._beat = False
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._send(frame)
            except TimeoutError as error:
                raise DeadlineExceeded(f"the peer has read nothing for {WRITE_SECONDS:g} s") from error
            self.last_sent = clock()
