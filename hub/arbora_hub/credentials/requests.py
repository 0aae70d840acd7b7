"""Ask a member for a token and wait for its answer.

A question and its answer are two volatile records, `token-request/<id>` down and `token/<id>` up; both are
forgotten once they were received. The token is sealed to the requester: the hub carries what it can't read.
"""

from __future__ import annotations

import asyncio
import secrets

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import DeadlineExceeded, Exhausted, PermissionDenied, Unavailable
from arbora.v1 import credential_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.sessions.registry import Sessions
from arbora_hub.tree import patience

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 10.0
PENDING_LIMIT = 1000
"""Questions that wait for their answers at once."""


class TokenRequests:
    """Open questions, by id."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiting: dict[str, tuple[Child, asyncio.Future[pb.TokenAnswer]]] = {}

    async def ask(
        self, child: Child, request: pb.TokenRequest, seconds: float = ANSWER_SECONDS
    ) -> pb.SealedToken:
        """Send `request` (its id is set here) and wait at most `seconds`, or less if the caller waits less.

        Raises Unavailable, DeadlineExceeded, PermissionDenied (the member's allow-list), Exhausted.
        """
        if not self._sessions.connected(child.name):
            raise Unavailable(
                f"{child.name} is not connected, so nobody can mint a token there",
                hint=f"See `arbora members describe {child.name}`.",
            )
        if len(self._waiting) >= PENDING_LIMIT:
            raise Exhausted(f"{PENDING_LIMIT} token requests wait for their answers", retry_after=1.0)
        request.id = secrets.token_hex(8)
        key = f"token-request/{request.id}"
        loop = asyncio.get_running_loop()
        seconds = patience.seconds_left(seconds, patience.until.get(), loop.time())
        answer: asyncio.Future[pb.TokenAnswer] = loop.create_future()
        self._waiting[request.id] = (child, answer)
        try:
            self._sessions.put(child, key, request.SerializeToString(), volatile=True)
            async with asyncio.timeout(seconds):
                result = await answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{child.name} did not answer the token request within {seconds:.1f} s", hint="Try again."
            ) from error
        finally:
            del self._waiting[request.id]
            self._sessions.delete(child, key)
        if result.HasField("token"):
            return result.token
        refusal = result.refusal
        if refusal.forbidden:
            raise PermissionDenied(
                f"{child.name} refuses: {refusal.message}",
                hint="The member's own allow-list decides; its operator can start the agent with --allow-token.",
            )
        raise Unavailable(f"{child.name} could not mint the token: {refusal.message}")

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `token/<id>` came in."""
        child.exchange.discard(key)
        if value is None:
            return
        try:
            answer = pb.TokenAnswer.FromString(value)
        except DecodeError:
            log.warning("unreadable token answer", child=child.name)
            return
        asked, future = self._waiting.get(answer.id, (None, None))
        # an answer counts only from the member that was asked
        if asked is child and future is not None and not future.done():
            future.set_result(answer)
