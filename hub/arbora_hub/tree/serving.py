"""Calls that come from the hub above: done here as if their client had called this hub, within limits.

    call/<id> -> once only -> the policy table, with the caller's role -> the same handler as on the client port
              -> the audit log, if it changes something -> answer/<id>

The hub above is believed about who calls and with which role, but never more than an operator's: **a parent is
never an admin of the hubs below it**, so whoever takes a hub over can't evict members, give access or rotate CAs
further down. Only the methods that were handed to `serve` are done at all. A handler may forward the call to the
next hub below; none can send it up, because there is nothing that would.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from google.protobuf.message import DecodeError, Message

from arbora.errors import ArboraError, DeadlineExceeded, Exhausted, InvalidInput, PermissionDenied
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.rpc.guard import Caller, caller
from arbora.rpc.policy import POLICY, Rule
from arbora.rpc.status import detail_to_wire
from arbora.v1 import call_pb2 as pb
from arbora_hub.tree import patience
from arbora_hub.tree.answered import Answered
from arbora_hub.tree.calls import ANSWER_SECONDS, FROM_ABOVE

log = structlog.get_logger(__name__)

RUNNING_LIMIT = 64
"""Calls that are done at once; beyond, they are refused at once."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_NAME = 200


class Upward(Protocol):
    """What is needed of the uplink."""

    def observe(self, kind: str, observer: Callable[[str, bytes | None], None]) -> None:
        """Route records of the kind that the parent sends."""
        ...

    def on_parent(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a new parent begins."""
        ...

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record of what goes up."""
        ...

    def discard(self, key: str) -> None:
        """Forget a record that the parent sent and that was consumed."""
        ...


class Auditing(Protocol):
    """What is needed of the hub's gate."""

    async def audited(
        self, caller: Caller, method: str, request: object, answer: object | None, outcome: str
    ) -> None:
        """See `rpc.guard.Gate`."""
        ...


@dataclass(frozen=True, slots=True)
class Handler:
    """A method that may come from above."""

    request: type[Message]
    serve: Callable[[Any, Any], Awaitable[Message]]
    """The service's method. Its context is None: there is no call of grpc here."""


class CallServer:
    """Does the parent's calls, each in a task of its own."""

    def __init__(self, uplink: Upward, gate: Auditing, own_path: Callable[[], Path]) -> None:
        """own_path: where this hub stands now, for errors."""
        self._uplink = uplink
        self._gate = gate
        self._own_path = own_path
        self._handlers: dict[str, Handler] = {}
        self._answered = Answered()
        self._tasks: asyncio.TaskGroup | None = None
        self._running = 0
        uplink.observe("call", self.observed)
        uplink.on_parent(self._parent_began)

    def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Do these methods from now on, by their full names."""
        self._handlers.update(handlers)

    async def run(self) -> None:
        """Until cancelled; calls that still run are cancelled, too."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._tasks = None

    def observed(self, key: str, value: bytes | None) -> None:
        """A record `call/<id>` came in; it is consumed here."""
        self._uplink.discard(key)
        if value is None:
            return
        try:
            call = pb.Call.FromString(value)
        except DecodeError:
            log.warning("unreadable call of the parent", key=key[:80])
            return
        if key != f"call/{call.id}":
            log.warning("a call of the parent has another id than its record", key=key[:80])
            return
        if not self._answered.take(call.id, asyncio.get_running_loop().time()):
            before = self._answered.answer_to(call.id)
            if before is not None:
                self._put(call.id, before)
            return
        if self._tasks is None or self._running >= RUNNING_LIMIT:
            busy = Exhausted(f"{self._running} calls from above are being done", retry_after=1.0)
            self._answer(pb.CallAnswer(id=call.id, error=self._told(busy)))
            return
        self._running += 1
        self._tasks.create_task(self._done(call, self._answered), name=f"call {call.method.rpartition('/')[2]}")

    def _parent_began(self) -> None:
        """What another parent asked is not this one's to hear, nor what it was answered."""
        self._answered = Answered()

    async def _done(self, call: pb.Call, asked: Answered) -> None:
        try:
            answer = pb.CallAnswer(id=call.id, response=await self._perform(call))
        except ArboraError as error:
            answer = pb.CallAnswer(id=call.id, error=self._told(error))
        except Exception as error:
            # A bug: logged whole. Its text may hold a secret, so only the id goes up.
            error_id = secrets.token_hex(4)
            log.error("unhandled", method=call.method, error_id=error_id, exc_info=error)
            answer = pb.CallAnswer(
                id=call.id, error=self._told(ArboraError(f"internal error {error_id}: see the hub's log"))
            )
        finally:
            self._running -= 1
        if asked is self._answered:
            self._answer(answer)

    async def _perform(self, call: pb.Call) -> bytes:
        """The response, serialized. Raises ArboraError."""
        handler, rule = self._handlers.get(call.method), POLICY.get(call.method)
        if handler is None or rule is None:
            raise InvalidInput(
                f"{call.method[:MAX_NAME]} can't be called through other hubs",
                hint="Call the hub itself. If the hub above is newer, bring both to the same version.",
            )
        try:
            request = handler.request.FromString(call.request)
        except DecodeError as error:
            raise InvalidInput("the request can't be read", hint="Bring all hubs to the same version.") from error
        who = Caller(FROM_ABOVE + _name(call.caller), role=_role(call.role), address="the hub above")
        answer: Message | None = None
        outcome = "INTERNAL"
        try:
            _admit(who, call.method, rule)
            answer = await self._handled(handler, request, who, _patience(call))
            data = answer.SerializeToString()
            if len(data) > MAX_ANSWER_BYTES:
                raise Exhausted(
                    f"the answer has {len(data)} bytes, {MAX_ANSWER_BYTES} at most",
                    hint="Ask for less: one hub further down, or fewer levels.",
                )
            outcome = "OK"
            return data
        except ArboraError as error:
            outcome = error.reason
            raise
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            raise
        finally:
            # As the guard does it: in the log before anybody hears the answer.
            if rule.mutates:
                await asyncio.shield(self._gate.audited(who, call.method, request, answer, outcome))

    async def _handled(self, handler: Handler, request: Message, who: Caller, seconds: float) -> Message:
        end = asyncio.get_running_loop().time() + seconds
        caller.set(who)
        patience.until.set(end)
        try:
            async with asyncio.timeout_at(end):
                return await handler.serve(request, None)
        except TimeoutError as error:
            raise DeadlineExceeded(f"not done within the {seconds:.1f} s that the caller waits") from error

    def _told(self, error: ArboraError) -> pb.CallError:
        """The error as it goes up. One that came from further down keeps the hop that said it."""
        message = error.message.removeprefix(f"{error.hop}: ") if error.hop else error.message
        return pb.CallError(message=message, detail=detail_to_wire(error), hop=error.hop or str(self._own_path()))

    def _answer(self, answer: pb.CallAnswer) -> None:
        data = answer.SerializeToString()
        self._answered.keep(answer.id, data)
        self._put(answer.id, data)

    def _put(self, call_id: str, data: bytes) -> None:
        self._uplink.put(f"answer/{call_id}", data, volatile=True)


def _admit(who: Caller, method: str, rule: Rule) -> None:
    assert who.role is not None
    if not isinstance(rule.who, Role) or not who.role.allows(rule.who):
        needed = rule.who.name.lower()
        raise PermissionDenied(
            f"{method.rpartition('/')[2]} needs the role {needed}; "
            f"{who.name.removeprefix(FROM_ABOVE)} is {who.role.name.lower()} here",
            hint="A caller from a hub above is an operator at most; an admin of this hub has to do it here.",
        )


def _name(text: str) -> str:
    """The caller as the hub above names it, fit for a line of a log."""
    return text[:MAX_NAME] if text and text.isprintable() else "unnamed"


def _role(number: int) -> Role:
    """What the caller may do here. Raises PermissionDenied for a role that is not known."""
    try:
        return min(Role(number), Role.OPERATOR)
    except ValueError as error:
        raise PermissionDenied(f"the hub above names a role that is not known here: {number}") from error


def _patience(call: pb.Call) -> float:
    """Seconds that the caller waits; never more than this hub itself would wait."""
    told = call.patience.ToTimedelta().total_seconds() if call.HasField("patience") else ANSWER_SECONDS
    return min(max(told, 0.0), ANSWER_SECONDS)
