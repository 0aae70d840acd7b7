"""Tokens of members at any depth, for whoever may ask: a client over gRPC, or the hub's face in Kubernetes.

The hub that owns the member checks the request and asks its agent; the hubs above only carry the call down and
the sealed answer up.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from arbora.errors import InvalidInput, Unavailable
from arbora.identity.names import Path, check_name
from arbora.rpc.guard import caller
from arbora.v1 import credential_pb2 as pb
from arbora_hub.credentials.requests import GrantRequests, TokenRequests, refused
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.route import Below, to_member

CREATE_TOKEN = "/arbora.v1.CredentialService/CreateToken"
LIST_GRANTS = "/arbora.v1.CredentialService/ListGrants"
REVOKE_GRANT = "/arbora.v1.CredentialService/RevokeGrant"

DEFAULT_LIFETIME = 3600
MIN_LIFETIME = 600
MAX_LIFETIME = 24 * 3600
"""Seconds. Kubernetes itself refuses less than 10 minutes; the member may allow less than this maximum."""
MAX_AUDIENCES = 10
MAX_ROLES = 20
"""Of each kind in one grant."""
MAX_RULES = 50
"""Of one role."""


class Minting:
    """Asks members. Its methods raise ArboraError and act for the present `caller`."""

    def __init__(self, inventory: Inventory, tokens: TokenRequests, grants: GrantRequests, calls: Calls) -> None:
        self._inventory = inventory
        self._tokens = tokens
        self._grants = grants
        self._calls = calls

    async def create(self, request: pb.CreateTokenRequest) -> pb.CreateTokenResponse:
        """A token, sealed to the request's recipient."""
        place = to_member(self._inventory.own_path, request.member, "member")
        if isinstance(place, Below):
            onward = pb.CreateTokenRequest()
            onward.CopyFrom(request)
            onward.member = place.text
            return await self._calls.forward(place.child, CREATE_TOKEN, onward, pb.CreateTokenResponse)
        child = self._member(place.name)
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
            cluster_uid=request.cluster_uid,
        )
        if request.HasField("grant"):
            check_grant(request.grant)
            question.grant.CopyFrom(request.grant)
        answer = await self._tokens.ask(child, question)
        if not answer.HasField("token"):
            raise refused(child, answer.refusal)
        if question.HasField("grant") and not answer.steps:
            raise Unavailable(
                f"the agent of {child.name} is too old to grant rights", hint="Bring it to this hub's version."
            )
        return pb.CreateTokenResponse(
            id=question.id, member=str(self._inventory.path_of(child)), token=answer.token, steps=answer.steps
        )

    async def grants(self, request: pb.ListGrantsRequest) -> pb.ListGrantsResponse:
        """What the member keeps."""
        place = to_member(self._inventory.own_path, request.member, "member")
        if isinstance(place, Below):
            onward = pb.ListGrantsRequest(member=place.text)
            return await self._calls.forward(place.child, LIST_GRANTS, onward, pb.ListGrantsResponse)
        child = self._member(place.name)
        answer = await self._ask(child, pb.GrantRequest())
        return pb.ListGrantsResponse(grants=answer.grants, member=str(self._inventory.path_of(child)))

    async def revoke(self, request: pb.RevokeGrantRequest) -> pb.RevokeGrantResponse:
        """Take a grant back; done when this returns."""
        place = to_member(self._inventory.own_path, request.member, "member")
        if isinstance(place, Below):
            onward = pb.RevokeGrantRequest(member=place.text, id=request.id, cluster_uid=request.cluster_uid)
            return await self._calls.forward(place.child, REVOKE_GRANT, onward, pb.RevokeGrantResponse)
        child = self._member(place.name)
        check_name(request.id, "id")
        await self._ask(child, pb.GrantRequest(revoke=request.id, cluster_uid=request.cluster_uid))
        return pb.RevokeGrantResponse()

    async def _ask(self, child: Child, question: pb.GrantRequest) -> pb.GrantAnswer:
        question.requester = caller.get().name
        answer = await self._grants.ask(child, question)
        if answer.HasField("refusal"):
            raise refused(child, answer.refusal)
        return answer

    def _member(self, name: str) -> Child:
        child = self._inventory.resolve(name)
        if child.row.kind != "agent":
            path: Path = self._inventory.path_of(child)
            raise InvalidInput(
                f"{path} is a hub, and only member clusters have service accounts",
                field="member",
                hint=f"See `arbora members tree {path}` for the members below it.",
            )
        return child


def check_grant(grant: pb.Grant) -> None:
    """What any member would refuse. Raises InvalidInput."""
    check_name(grant.id, "grant.id")
    for field, roles in (("roles", grant.roles), ("cluster_roles", grant.cluster_roles)):
        if len(roles) > MAX_ROLES:
            raise InvalidInput(f"has {len(roles)} entries, at most {MAX_ROLES}", field=f"grant.{field}")
        for index, role in enumerate(roles):
            where = f"grant.{field}[{index}]"
            if not role.name or len(role.name) > 253:
                raise InvalidInput("is missing or too long", field=f"{where}.name")
            if bool(role.namespace) is not (field == "roles"):
                what = "needs a namespace" if field == "roles" else "has a namespace"
                raise InvalidInput(what, field=f"{where}.namespace")
            if len(role.rules) > MAX_RULES:
                raise InvalidInput(f"has {len(role.rules)} rules, at most {MAX_RULES}", field=f"{where}.rules")
