"""How the client calls a hub: deadlines, errors, pages, and repetition of reads.

The rules, in one place: a unary call has a deadline over all of its attempts. A read is repeated a bounded
number of times while the hub can't be reached, with full-jitter back-off; a write never is, because nobody
knows whether the first attempt arrived. grpc's errors never leave this module: they become ArboraErrors.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
from grpc.aio import UnaryStreamMultiCallable, UnaryUnaryMultiCallable

from arbora.errors import ArboraError, Unavailable
from arbora.rpc.status import error_from

Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently a read is repeated."""

    attempts: int = 4
    first: float = 0.1
    """Upper bound of the first pause in seconds; it doubles."""
    longest: float = 2.0
    """Upper bound of every pause in seconds."""

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0); `chance` in [0, 1)."""
        return min(self.longest, self.first * 2.0**attempt) * chance


@dataclass(frozen=True, slots=True)
class Calls:
    """The one way to call. Stateless; shared by all nouns of a client."""

    deadline: float = 30.0
    """Seconds for a unary call, unless a method says otherwise."""
    retry: Retry = Retry()
    chance: Callable[[], float] = random.random
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def write(
        self, method: UnaryUnaryMultiCallable[Q, R], request: Q, *, deadline: float | None = None
    ) -> R:
        """Call once. Raises an ArboraError."""
        try:
            return await method(request, timeout=self.deadline if deadline is None else deadline)
        except grpc.aio.AioRpcError as error:
            raise error_from(error) from error

    async def read(self, method: UnaryUnaryMultiCallable[Q, R], request: Q) -> R:
        """Call, and repeat while the hub can't be reached. Raises the last attempt's ArboraError."""
        clock = asyncio.get_running_loop().time
        end = clock() + self.deadline
        attempt = 0
        while True:
            try:
                return await self.write(method, request, deadline=max(0.001, end - clock()))
            except Unavailable as error:
                pause = max(self.retry.pause(attempt, self.chance()), error.retry_after or 0.0)
                attempt += 1
                if attempt >= self.retry.attempts or clock() + pause >= end:
                    raise
                await self.wait(pause)

    async def pages(self, page: Callable[[str], Awaitable[tuple[list[R], str]]]) -> AsyncGenerator[R, None]:
        """Every item of every page. `page(token)` returns one page's items and the next token."""
        token = ""
        while True:
            items, following = await page(token)
            for item in items:
                yield item
            if not following:
                return
            if following == token:
                raise ArboraError("the hub sent the same page token twice", hint="Update the hub.")
            token = following

    async def stream(self, method: UnaryStreamMultiCallable[Q, R], request: Q) -> AsyncGenerator[R, None]:
        """What the hub sends until either side ends it. The channel's keepalive notices a dead peer.

        Close the iterator (`contextlib.aclosing`) to end the call early. Raises an ArboraError.
        """
        call = method(request)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise error_from(error) from error
        finally:
            call.cancel()
