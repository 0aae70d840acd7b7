"""One token: checked against this member's allow-list, minted, sealed to the requester.

The token is in memory between the API server's answer and the seal, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from google.protobuf.duration_pb2 import Duration

from arbora.errors import PermissionDenied
from arbora.identity import seal
from arbora.identity.names import Path
from arbora.v1 import credential_pb2 as pb
from arbora_agent.allow import TokenPolicy
from arbora_agent.cluster.port import Cluster

log = structlog.get_logger(__name__)


class TokenMinter:
    """Mints tokens of accounts that the allow-list names."""

    def __init__(self, cluster: Cluster, policy: TokenPolicy, path: Callable[[], Path]) -> None:
        """path: this member's path, which the seal binds."""
        self._cluster = cluster
        self._policy = policy
        self._path = path

    def check(self, request: pb.TokenRequest) -> None:
        """Raises PermissionDenied if the allow-list does not name the account, or not for so long."""
        refusal = self._policy.refusal(request.namespace, request.service_account, _seconds(request))
        if refusal:
            raise PermissionDenied(refusal)

    async def mint(self, request: pb.TokenRequest) -> pb.SealedToken:
        """Raises PermissionDenied, ObjectRejected, ClusterUnavailable."""
        self.check(request)
        minted = await self._cluster.mint_token(
            request.namespace, request.service_account, list(request.audiences), _seconds(request)
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
        return pb.SealedToken(ciphertext=sealed, lifetime=Duration(seconds=int(minted.lifetime)))


def _seconds(request: pb.TokenRequest) -> int:
    return int(request.lifetime.ToTimedelta().total_seconds())
