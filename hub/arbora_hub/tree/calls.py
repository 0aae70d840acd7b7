"""A client's call on its way down: `call/<id>` into a child hub's desired map, `answer/<id>` out of its reports.

    a service's handler -> Calls.forward -> call/<id> -> (the child's CallServer) -> answer/<id> -> the handler

What a call may be, the hub that serves it decides (`serving.py`). Both records are volatile: nothing of a call is
kept once it was received. An answer counts only from the child that was asked, and what the child says of hubs
that are not below it is not believed. No call ever goes up.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError, Message

from arbora.errors import ArboraError, DeadlineExceeded, Exhausted, InvalidInput, NotFound, Unavailable
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.rpc.guard import Caller, caller
from arbora.rpc.status import error_to_raise
from arbora.v1 import call_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree import patience

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 10.0
"""How long an answer is waited for, unless the caller's patience ends before."""
PENDING_LIMIT = 1000
"""Calls that wait for their answers at once."""
FROM_ABOVE = "parent/"
"""Stands before the caller's name at every hub that it did not call itself."""
MAX_MESSAGE = 1000
"""Characters of an error's message that are passed on."""

R = TypeVar("R", bound=Message)


class Sending(Protocol):
    """What is needed of the sessions with children."""

    def connected(self, name: str) -> bool:
        """Whether the child has a session now."""
        ...

    def put(self, child: Child, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record of the child's desired map."""
        ...

    def delete(self, child: Child, key: str) -> None:
        """Delete a record of the child's desired map."""
        ...


class Calls:
    """Calls that were sent down and wait for their answers, by id."""

    def __init__(self, sessions: Sending, inventory: Inventory, clock: Callable[[], float] = time.time) -> None:
        """clock: wall time in seconds, for how long ago a child was heard of before this process began."""
        self._sessions = sessions
        self._inventory = inventory
        self._clock = clock
        self._waiting: dict[str, tuple[Child, asyncio.Future[pb.CallAnswer]]] = {}

    def hub(self, name: str) -> Child:
        """The child hub `name`. Raises NotFound if it is not known here or is no hub."""
        child = self._inventory.find(name)
        if child is None:
            raise NotFound(
                f"there is no child {name} at the hub {self._inventory.own_path}",
                hint="See `arbora members tree` for what is below it.",
            )
        if child.row.kind != "hub":
            path = self._inventory.path_of(child)
            raise NotFound(f"{path} is a member cluster, so nothing is below it", hint=f"Ask for {path} itself.")
        return child

    def absence(self, child: Child) -> str:
        """Why the child can't be asked now, as a sentence; empty if it is connected."""
        if self._sessions.connected(child.name):
            return ""
        path = self._inventory.path_of(child)
        if child.heard is not None:
            silent = asyncio.get_running_loop().time() - child.heard
        elif child.row.last_seen:
            silent = self._clock() - child.row.last_seen
        else:
            return f"{path} has not connected yet"
        return f"{path} is not connected; it was last heard of {max(0.0, silent):.0f} s ago"

    async def forward(
        self, name: str, method: str, request: Message, response: type[R], *, seconds: float = ANSWER_SECONDS
    ) -> R:
        """What the child hub `name` answers to `method`, called for whoever calls this hub now.

        method: its full name, with a slash in front; request: with paths relative to that hub.
        Raises NotFound (no such hub here), Unavailable (not connected, or its answer can't be read),
        DeadlineExceeded, Exhausted, and every error of the hub that answers, with `hop` saying which one it is.
        """
        child = self.hub(name)
        path = self._inventory.path_of(child)
        if why := self.absence(child):
            raise Unavailable(f"{why}, so nothing below it can be asked", hint=f"Look at the hub {path}.")
        if len(self._waiting) >= PENDING_LIMIT:
            raise Exhausted(f"{PENDING_LIMIT} calls to hubs below wait for their answers", retry_after=1.0)
        loop = asyncio.get_running_loop()
        wait = patience.seconds_left(seconds, patience.until.get(), loop.time())
        call = self._call(method, request, wait)
        key = f"call/{call.id}"
        answer: asyncio.Future[pb.CallAnswer] = loop.create_future()
        self._waiting[call.id] = (child, answer)
        try:
            self._sessions.put(child, key, call.SerializeToString(), volatile=True)
            async with asyncio.timeout(wait):
                result = await answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the hub {path} did not answer within {wait:.1f} s",
                hint=f"Look at the hub {path}, or try again.",
            ) from error
        finally:
            del self._waiting[call.id]
            self._sessions.delete(child, key)
        if result.HasField("error"):
            raise error_of(result.error, path)
        try:
            return response.FromString(result.response)
        except DecodeError as error:
            raise Unavailable(
                f"the hub {path} answered what this hub can't read", hint="Bring both to the same version."
            ) from error

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `answer/<id>` came in; it is consumed here."""
        child.exchange.discard(key)
        if value is None:
            return
        try:
            answer = pb.CallAnswer.FromString(value)
        except DecodeError:
            log.warning("unreadable answer to a call", child=child.name)
            return
        asked, future = self._waiting.get(answer.id, (None, None))
        # an answer counts only from the child that was asked
        if asked is child and future is not None and not future.done():
            future.set_result(answer)

    def _call(self, method: str, request: Message, wait: float) -> pb.Call:
        who = caller.get()
        call = pb.Call(
            id=secrets.token_hex(8),
            method=method,
            request=request.SerializeToString(),
            caller=who.name.removeprefix(FROM_ABOVE),
        )
        call.role = travelling_role(who).value  # type: ignore[assignment]  # enums are plain ints at run time
        call.patience.FromMilliseconds(int(wait * 1000))
        return call


def travelling_role(who: Caller) -> Role:
    """What `who` may do at hubs below: never more than an operator. Raises InvalidInput for no client."""
    if who.role is None:
        raise InvalidInput(f"{who.name} is no client, and only clients' calls go further down")
    return min(who.role, Role.OPERATOR)


def error_of(told: pb.CallError, path: Path) -> ArboraError:
    """The error that a child hub answers with, to raise here.

    path: of the child; what it says of hubs that don't stand there or below counts as said by itself.
    """
    hop = path
    if told.hop:
        try:
            said = Path.parse(told.hop)
        except InvalidInput:
            said = path
        hop = said if said.relative_to(path) is not None else path
    detail = told.detail
    detail.hint = detail.hint[:MAX_MESSAGE]
    detail.field = detail.field[:MAX_MESSAGE]
    detail.hop = str(hop)
    return error_to_raise(detail, f"{hop}: {told.message[:MAX_MESSAGE]}", ArboraError)
