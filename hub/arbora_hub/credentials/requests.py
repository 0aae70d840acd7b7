"""Ask a member something about its credentials and wait for its answer.

A question and its answer are two volatile records, `token-request/<id>` down and `token/<id>` up, or
`grant-request/<id>` and `grant/<id>`; both are forgotten once they were received. A token is sealed to the
requester: the hub carries what it can't read.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Generic, Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError, Message

from arbora.errors import ArboraError, DeadlineExceeded, Exhausted, PermissionDenied, Unavailable
from arbora.v1 import credential_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.sessions.registry import Sessions
from arbora_hub.tree import patience

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 10.0
PENDING_LIMIT = 1000
"""Questions of one kind that wait for their answers at once."""


class _Asked(Protocol):
    id: str

    def SerializeToString(self) -> bytes: ...


Q = TypeVar("Q", bound=_Asked)
A = TypeVar("A", bound=Message)


class Questions(Generic[Q, A]):
    """Open questions of one kind, by id."""

    def __init__(self, sessions: Sessions, kind: str, what: str, answer: type[A]) -> None:
        """kind: of the record that goes down. what: what is asked for, in an error's words."""
        self._sessions = sessions
        self._kind = kind
        self._what = what
        self._answer = answer
        self._waiting: dict[str, tuple[Child, asyncio.Future[A]]] = {}

    async def ask(self, child: Child, question: Q, seconds: float = ANSWER_SECONDS) -> A:
        """Send `question` (its id is set here) and wait at most `seconds`, or less if the caller waits less.

        Raises Unavailable, DeadlineExceeded, Exhausted.
        """
        if not self._sessions.connected(child.name):
            raise Unavailable(
                f"{child.name} is not connected, so nobody can {self._what} there",
                hint=f"See `arbora members describe {child.name}`.",
            )
        if len(self._waiting) >= PENDING_LIMIT:
            raise Exhausted(f"{PENDING_LIMIT} such requests wait for their answers", retry_after=1.0)
        question.id = secrets.token_hex(8)
        key = f"{self._kind}/{question.id}"
        loop = asyncio.get_running_loop()
        seconds = patience.seconds_left(seconds, patience.until.get(), loop.time())
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting[question.id] = (child, answer)
        try:
            self._sessions.put(child, key, question.SerializeToString(), volatile=True)
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{child.name} did not answer within {seconds:.1f} s when asked to {self._what}",
                hint="Try again.",
            ) from error
        finally:
            del self._waiting[question.id]
            self._sessions.delete(child, key)

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """An answer came in."""
        child.exchange.discard(key)
        if value is None:
            return
        try:
            answer = self._answer.FromString(value)
        except DecodeError:
            log.warning("unreadable answer", child=child.name, kind=self._kind)
            return
        waiting = self._waiting.get(answer.id)  # type: ignore[attr-defined]
        # an answer counts only from the member that was asked
        if waiting is not None and waiting[0] is child and not waiting[1].done():
            waiting[1].set_result(answer)


TokenRequests = Questions[pb.TokenRequest, pb.TokenAnswer]
GrantRequests = Questions[pb.GrantRequest, pb.GrantAnswer]


def token_requests(sessions: Sessions) -> TokenRequests:
    """Questions for tokens, heard of in `sessions`."""
    made: TokenRequests = Questions(sessions, "token-request", "mint a token", pb.TokenAnswer)
    sessions.observe("token", made.observed)
    return made


def grant_requests(sessions: Sessions) -> GrantRequests:
    """Questions about grants, heard of in `sessions`."""
    made: GrantRequests = Questions(sessions, "grant-request", "look after grants", pb.GrantAnswer)
    sessions.observe("grant", made.observed)
    return made


def refused(child: Child, refusal: pb.TokenRefusal) -> ArboraError:
    """The error for what a member refuses; `field` is the step of a grant that failed."""
    if refusal.forbidden:
        return PermissionDenied(
            f"{child.name} refuses: {refusal.message}",
            hint="The member's own allow-list decides; its operator can start the agent with --allow-token, "
            "--allow-role, --allow-cluster-role or --allow-rules-of.",
            field=refusal.step[:100],
        )
    return Unavailable(f"{child.name} could not do it: {refusal.message}", field=refusal.step[:100])
