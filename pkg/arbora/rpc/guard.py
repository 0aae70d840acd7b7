"""The outermost layer of every RPC: who may, what a failure looks like from outside, what is audited.

A handler raises ArboraError and nothing else on purpose. Everything else is a bug: it is logged whole
with an error id, and the peer sees only that id, because an exception's text can hold a secret.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc
import structlog

from arbora.errors import ArboraError, PermissionDenied
from arbora.identity.bearer import Role
from arbora.rpc.peer import Peer, peer_of
from arbora.rpc.policy import POLICY, Rule, Who
from arbora.rpc.status import code_of, detail_of

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called, as proven: a client by its bearer token, a child by its certificate, or nobody."""

    name: str
    """access/<name>, member/<name>, node/<name> or anyone."""
    role: Role | None = None
    peer: Peer | None = None
    address: str = ""
    until: float | None = None
    """When what proves it ends, in seconds since the epoch; None: not known, or never."""


caller: ContextVar[Caller] = ContextVar("caller")
"""The caller of the RPC being served; set by the guard, read by handlers."""


class Gate(Protocol):
    """What the guard asks of the server it protects."""

    def client(self, bearer: str) -> tuple[str, Role]:
        """Name and role behind a bearer token. Raises Unauthenticated."""
        ...

    async def node(self, bearer: str) -> tuple[str, float | None]:
        """The node whose agent shows this token, and when the token ends. Raises Unauthenticated, Unavailable."""
        ...

    async def audited(
        self, caller: Caller, method: str, request: object, answer: object | None, outcome: str
    ) -> None:
        """A mutating call ended; outcome is OK, CANCELLED or the reason of its refusal.

        answer: what the handler gave; None if it gave nothing.
        """
        ...


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every handler of one server."""

    def __init__(self, gate: Gate, policy: dict[str, Rule] = POLICY) -> None:
        self._gate = gate
        self._policy = policy

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Called by grpc for each RPC; returns the wrapped handler."""
        handler = await continuation(details)
        if handler is None:
            return None
        method = str(details.method)
        rule = self._policy.get(method)
        if rule is None:
            return None
        bearer = ""
        for key, value in details.invocation_metadata or ():
            if key == "authorization" and isinstance(value, str):
                bearer = value.removeprefix("Bearer ")
        wrap = _Call(self._gate, method, rule, bearer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                wrap.unary(handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                wrap.streaming(handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                wrap.streaming(handler.stream_stream), handler.request_deserializer, handler.response_serializer
            )
        raise RuntimeError(f"{method}: client streaming calls are not served")


class _Call:
    """One RPC on its way through the guard."""

    __slots__ = ("_bearer", "_gate", "_method", "_rule")

    def __init__(self, gate: Gate, method: str, rule: Rule, bearer: str) -> None:
        self._gate = gate
        self._method = method
        self._rule = rule
        self._bearer = bearer

    async def _admit(self, context: Context) -> Caller:
        who = self._rule.who
        address = context.peer()
        if who is Who.NODE:
            name, until = await self._gate.node(self._bearer)
            return Caller(f"node/{name}", address=address, until=until)
        if who is Who.ANYONE:
            return Caller("anyone", address=address)
        if who is Who.CHILD:
            peer = peer_of(context)
            return Caller(f"member/{peer.spiffe_id.name}", peer=peer, address=address)
        name, role = self._gate.client(self._bearer)
        admitted = Caller(f"access/{name}", role=role, address=address)
        if not role.allows(who):
            raise _Forbidden(
                admitted,
                f"{self._method.rpartition('/')[2]} needs the role {who.name.lower()}; "
                f"{name} is {role.name.lower()}",
            )
        return admitted

    def unary(
        self, behaviour: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def guarded(request: Any, context: Context) -> Any:
            who = Caller("anyone", address=context.peer())
            answer: Any = None
            failure: Exception | None = None
            try:
                who = await self._admit(context)
                caller.set(who)
                answer = await behaviour(request, context)
            except asyncio.CancelledError:
                # Whoever called went away or waited long enough: what was asked for may be done or not.
                await self._audit(who, request, None, "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - told to the peer and logged by _refuse
                failure = error
            if isinstance(failure, _Forbidden):
                who = failure.caller
            outcome = failure.reason if isinstance(failure, ArboraError) else "INTERNAL" if failure else "OK"
            # Before the peer hears of it: what was answered is in the log, whatever happens next.
            await self._audit(who, request, answer, outcome)
            if failure is not None:
                await self._refuse(context, failure)
            return answer

        return guarded

    async def _audit(self, who: Caller, request: Any, answer: Any, outcome: str) -> None:
        if self._rule.mutates:
            await asyncio.shield(self._gate.audited(who, self._method, request, answer, outcome))

    def streaming(self, behaviour: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
        """For handlers that yield answers, and for those that read and write through the context."""
        if inspect.isasyncgenfunction(behaviour):

            async def generating(request: Any, context: Context) -> AsyncIterator[Any]:
                try:
                    caller.set(await self._admit(context))
                    async with aclosing(behaviour(request, context)) as answers:
                        async for answer in answers:
                            if isinstance(self._rule.who, Role):
                                # Its access may have ended meanwhile: a stream is worth what a new call is.
                                await self._admit(context)
                            yield answer
                except Exception as error:  # noqa: BLE001 - told to the peer and logged by _refuse
                    await self._refuse(context, error)

            return generating

        async def conversing(request: Any, context: Context) -> None:
            try:
                caller.set(await self._admit(context))
                await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - told to the peer and logged by _refuse
                await self._refuse(context, error)

        return conversing

    async def _refuse(self, context: Context, error: Exception) -> NoReturn:
        """End the call with `error`."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, ArboraError):
            await context.abort(code_of(error), str(error), detail_of(error))
        error_id = secrets.token_hex(4)
        log.error("unhandled", method=self._method, error_id=error_id, exc_info=error)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error {error_id}: see the hub's log")
        raise AssertionError("abort always raises")


class _Forbidden(PermissionDenied):
    """A known caller without the role; the audit log wants its name."""

    def __init__(self, who: Caller, message: str) -> None:
        super().__init__(message, hint="Ask an admin of this hub for access with that role.")
        self.caller = who
