"""CredentialService: tokens of members at any depth, and the rights that came with them."""

from __future__ import annotations

from arbora.rpc.guard import Context
from arbora.v1 import credential_pb2 as pb
from arbora.v1 import credential_pb2_grpc
from arbora_hub.credentials.minting import Minting


class CredentialService(credential_pb2_grpc.CredentialServiceServicer):
    """Served on the client port."""

    def __init__(self, minting: Minting) -> None:
        self._minting = minting

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        """See credential.proto."""
        return await self._minting.create(request)

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        """See credential.proto."""
        return await self._minting.grants(request)

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, context: Context) -> pb.RevokeGrantResponse:
        """See credential.proto."""
        return await self._minting.revoke(request)
