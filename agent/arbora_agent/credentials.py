"""Questions from the hub about tokens and grants: taken in, answered one by one, refused in words.

    token-request/<id>                a few at a time -> minting.py
    token-request/<id> with a grant   one at a time   -> grants/, then minting.py
    grant-request/<id>                one at a time   -> grants/

Grants share accounts and roles, so what one makes or deletes must be seen by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import ArboraError, Conflict, DeadlineExceeded, Exhausted, PermissionDenied
from arbora.v1 import credential_pb2 as pb
from arbora_agent.cluster.port import Cluster
from arbora_agent.grants.granter import Granter
from arbora_agent.grants.model import ACCOUNT, STEPS
from arbora_agent.grants.wire import grant_from_wire, grants_to_wire, steps_to_wire
from arbora_agent.minting import TokenMinter

log = structlog.get_logger(__name__)

WORKERS = 4
WAITING_LIMIT = 200
"""Token requests, and requests about grants, that wait at most; beyond, they are refused at once."""
GRANT_SECONDS = 30.0
"""For one grant; the hub waits less, but what is begun is better finished."""
_MAX_WORDS = 500

Answer = Callable[[pb.TokenAnswer | pb.GrantAnswer], None]


class Credentials:
    """Answers questions about tokens and grants."""

    def __init__(self, cluster: Cluster, minter: TokenMinter, granter: Granter, answer: Answer) -> None:
        """answer: sends an answer up."""
        self._cluster = cluster
        self._minter = minter
        self._granter = granter
        self._answer = answer
        self._tokens: asyncio.Queue[pb.TokenRequest] = asyncio.Queue(WAITING_LIMIT)
        self._grants: asyncio.Queue[pb.TokenRequest | pb.GrantRequest] = asyncio.Queue(WAITING_LIMIT)

    def token_request(self, data: bytes) -> None:
        """A token request came in."""
        try:
            request = pb.TokenRequest.FromString(data)
        except DecodeError:
            log.warning("unreadable token request")
            return
        self._take(self._grants if request.HasField("grant") else self._tokens, request)

    def grant_request(self, data: bytes) -> None:
        """A request about grants came in."""
        try:
            request = pb.GrantRequest.FromString(data)
        except DecodeError:
            log.warning("unreadable grant request")
            return
        self._take(self._grants, request)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self._mint())
            tasks.create_task(self._look_after_grants())

    def _take(self, queue: asyncio.Queue[Any], request: pb.TokenRequest | pb.GrantRequest) -> None:
        try:
            queue.put_nowait(request)
        except asyncio.QueueFull:
            self._refuse(request, Exhausted(f"{WAITING_LIMIT} such requests wait already"))

    async def _mint(self) -> None:
        while True:
            request = await self._tokens.get()
            try:
                self._check_cluster(request)
                self._answer(pb.TokenAnswer(id=request.id, token=await self._minter.mint(request)))
            except ArboraError as error:
                self._refuse(request, error)

    async def _look_after_grants(self) -> None:
        while True:
            request = await self._grants.get()
            try:
                self._check_cluster(request)
                if isinstance(request, pb.GrantRequest):
                    self._answer(await self._about_grants(request))
                else:
                    self._answer(await self._grant(request))
            except ArboraError as error:
                self._refuse(request, error)

    async def _grant(self, request: pb.TokenRequest) -> pb.TokenAnswer:
        try:
            self._minter.check(request)
        except PermissionDenied as error:
            error.field = ACCOUNT
            raise
        grant = grant_from_wire(request)
        async with _deadline(f"the grant {grant.id}"):
            steps = await self._granter.grant(grant)
        token = await self._minter.mint(request)
        return pb.TokenAnswer(id=request.id, token=token, steps=steps_to_wire(steps))

    async def _about_grants(self, request: pb.GrantRequest) -> pb.GrantAnswer:
        async with _deadline("looking after grants"):
            if request.revoke:
                left = await self._granter.revoke(request.revoke, request.requester)
            else:
                left = await self._granter.grants()
        return pb.GrantAnswer(id=request.id, grants=grants_to_wire(left))

    def _check_cluster(self, request: pb.TokenRequest | pb.GrantRequest) -> None:
        if request.cluster_uid and request.cluster_uid != self._cluster.facts().uid:
            raise Conflict("this is another cluster than the one that was meant")

    def _refuse(self, request: pb.TokenRequest | pb.GrantRequest, error: ArboraError) -> None:
        refusal = pb.TokenRefusal(
            forbidden=isinstance(error, PermissionDenied),
            message=_words(error),
            step=error.field if error.field in STEPS else "",
        )
        if isinstance(request, pb.GrantRequest):
            log.warning("grant request refused", requester=request.requester, why=str(error))
            self._answer(pb.GrantAnswer(id=request.id, refusal=refusal))
            return
        log.warning(
            "token refused",
            namespace=request.namespace,
            service_account=request.service_account,
            grant=request.grant.id,
            requester=request.requester,
            why=str(error),
        )
        self._answer(pb.TokenAnswer(id=request.id, refusal=refusal))


@asynccontextmanager
async def _deadline(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(GRANT_SECONDS):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded(f"{what} took more than {GRANT_SECONDS:g} s", hint="Ask again.") from error


def _words(error: ArboraError) -> str:
    """One sentence with what to do; a step is told beside it."""
    said = error.message if error.field in STEPS else str(error)
    hint = error.hint if not isinstance(error, PermissionDenied) else ""
    return (f"{said} ({hint.rstrip('.')})" if hint else said)[:_MAX_WORDS]
