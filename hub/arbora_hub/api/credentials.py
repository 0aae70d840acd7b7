"""CredentialService."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from arbora.errors import InvalidInput
from arbora.identity.names import check_name
from arbora.rpc.guard import Context, caller
from arbora.v1 import credential_pb2 as pb
from arbora.v1 import credential_pb2_grpc
from arbora_hub.credentials.requests import TokenRequests
from arbora_hub.inventory.inventory import Inventory

DEFAULT_LIFETIME = 3600
MIN_LIFETIME = 600
MAX_LIFETIME = 24 * 3600
"""Seconds. Kubernetes itself refuses less than 10 minutes; the member may allow less than this maximum."""
MAX_AUDIENCES = 10


class CredentialService(credential_pb2_grpc.CredentialServiceServicer):
    """Served on the client port."""

    def __init__(self, inventory: Inventory, requests: TokenRequests) -> None:
        self._inventory = inventory
        self._requests = requests

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        """See credential.proto."""
        child = self._inventory.resolve(request.member)
        check_name(request.namespace, "namespace")
        if not request.service_account or len(request.service_account) > 253:
            raise InvalidInput("is missing or too long", field="service_account")
        if len(request.recipient) != 32:
            raise InvalidInput("must be an X25519 public key of 32 bytes", field="recipient")
        if len(request.audiences) > MAX_AUDIENCES or any(len(one) > 256 for one in request.audiences):
            raise InvalidInput(f"at most {MAX_AUDIENCES} of at most 256 characters", field="audiences")
        lifetime = (
            request.lifetime.ToTimedelta().total_seconds() if request.HasField("lifetime") else DEFAULT_LIFETIME
        )
        if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
            raise InvalidInput(
                f"is {lifetime:g} s; a token lives {MIN_LIFETIME} to {MAX_LIFETIME} s", field="lifetime"
            )
        question = pb.TokenRequest(
            namespace=request.namespace,
            service_account=request.service_account,
            audiences=request.audiences,
            lifetime=Duration(seconds=int(lifetime)),
            recipient=request.recipient,
            requester=caller.get().name,
        )
        token = await self._requests.ask(child, question)
        return pb.CreateTokenResponse(id=question.id, member=str(self._inventory.path_of(child)), token=token)
