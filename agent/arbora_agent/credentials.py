"""Token requests from the hub: checked against this member's allow-list, minted, sealed to the requester.

The token is in memory between the API server's answer and the seal, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from arbora.errors import ArboraError
from arbora.identity import seal
from arbora.identity.names import Path
from arbora.v1 import credential_pb2 as pb
from arbora_agent.allow import TokenPolicy
from arbora_agent.cluster.port import Cluster

log = structlog.get_logger(__name__)

WORKERS = 4
WAITING_LIMIT = 200
"""Requests that wait for a worker at most; beyond, they are refused at once."""


class TokenMinter:
    """Answers token requests."""

    def __init__(
        self,
        cluster: Cluster,
        policy: TokenPolicy,
        path: Callable[[], Path],
        answer: Callable[[pb.TokenAnswer], None],
    ) -> None:
        """path: this member's path, which the seal binds; answer: sends an answer up."""
        self._cluster = cluster
        self._policy = policy
        self._path = path
        self._answer = answer
        self._waiting: asyncio.Queue[pb.TokenRequest] = asyncio.Queue(WAITING_LIMIT)

    def request(self, data: bytes) -> None:
        """A request came in."""
        try:
            request = pb.TokenRequest.FromString(data)
        except DecodeError:
            log.warning("unreadable token request")
            return
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            self._refuse(request, f"{WAITING_LIMIT} token requests wait already", forbidden=False)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            request = await self._waiting.get()
            try:
                await self._mint(request)
            except ArboraError as error:
                self._refuse(request, str(error), forbidden=False)

    async def _mint(self, request: pb.TokenRequest) -> None:
        seconds = int(request.lifetime.ToTimedelta().total_seconds())
        refusal = self._policy.refusal(request.namespace, request.service_account, seconds)
        if refusal:
            self._refuse(request, refusal, forbidden=True)
            return
        minted = await self._cluster.mint_token(
            request.namespace, request.service_account, list(request.audiences), seconds
        )
        sealed = seal.seal(
            request.recipient,
            minted.token.reveal().encode(),
            context=seal.token_context(request.id, self._path()),
        )
        log.info(
            "token minted",
            namespace=request.namespace,
            service_account=request.service_account,
            requester=request.requester,
            seconds=int(minted.lifetime),
        )
        self._answer(
            pb.TokenAnswer(
                id=request.id,
                token=pb.SealedToken(ciphertext=sealed, lifetime=Duration(seconds=int(minted.lifetime))),
            )
        )

    def _refuse(self, request: pb.TokenRequest, sentence: str, *, forbidden: bool) -> None:
        log.warning(
            "token refused",
            namespace=request.namespace,
            service_account=request.service_account,
            requester=request.requester,
            why=sentence,
        )
        self._answer(
            pb.TokenAnswer(id=request.id, refusal=pb.TokenRefusal(forbidden=forbidden, message=sentence[:500]))
        )
