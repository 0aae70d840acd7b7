"""Asks a member for what a request wants, as the requester that it seals to, and opens the way there.

The private key for one answer lives for that one call. The way in is a connect token of its own per request, kept
nowhere but in the request's Secret; it ends with the request.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from arbora.client.kubeconfig import proxy_url
from arbora.errors import NotFound, PermissionDenied, Unauthenticated
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.identity.seal import new_recipient, open_sealed, token_context
from arbora.rpc.guard import Caller, caller
from arbora.secret import Secret
from arbora.v1 import credential_pb2 as pb
from arbora_hub.api.access import AccessList
from arbora_hub.credentials.minting import Minting
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.gateway.gateway import Gateway
from arbora_hub.gateway.naming import dotted
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.kubernetes.tokens.decide import Target
from arbora_hub.kubernetes.tokens.spec import RequestSpec, grant_id
from arbora_hub.tree.statuses import Statuses


@dataclass(frozen=True, slots=True)
class Minted:
    """What came back from the member."""

    token: Secret
    lifetime: float
    """Seconds that it really lives, from when it was made."""
    steps: tuple[pb.GrantStep, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """How a member is reached from outside."""

    ca_pem: bytes
    """Of its API server."""
    proxy: Secret
    """The proxy's whole URL; empty: this hub has no gateway, or the member lets nobody in."""
    gateway_ca: bytes


class Issuing:
    """The hub's own hands, for requests in Kubernetes. Its methods raise ArboraError."""

    def __init__(
        self,
        inventory: Inventory,
        statuses: Statuses,
        minting: Minting,
        accesses: AccessList,
        gateway: Gateway,
        authority: HubAuthority,
    ) -> None:
        self._inventory = inventory
        self._statuses = statuses
        self._minting = minting
        self._accesses = accesses
        self._gateway = gateway
        self._authority = authority

    async def mint(self, requester: str, uid: str, spec: RequestSpec, target: Target) -> Minted:
        """A token, and the rights for it. requester: for audit logs on the way, such as `team/name`."""
        private, recipient = new_recipient()
        request = pb.CreateTokenRequest(
            member=target.path,
            namespace=spec.account_namespace,
            service_account=spec.account,
            audiences=spec.audiences,
            lifetime=Duration(seconds=spec.seconds),
            recipient=recipient,
            grant=spec.grant(uid),
            cluster_uid=target.cluster_uid,
        )
        _act_as(requester)
        answer = await self._minting.create(request)
        path = Path.parse(answer.member)
        if path != Path.parse(target.path):
            raise PermissionDenied(f"{path} answered in place of {target.path}")
        opened = open_sealed(private, answer.token.ciphertext, context=token_context(answer.id, path))
        token = Secret(opened.decode())
        told = answer.token.lifetime.ToTimedelta().total_seconds()
        return Minted(token, min(told, life_of(token) or told), tuple(answer.steps))

    async def release(self, requester: str, uid: str, path: str, cluster_uid: str) -> None:
        """Have the member forget the request's grant. One that is not there is no error."""
        _act_as(requester)
        await self._minting.revoke(pb.RevokeGrantRequest(member=path, id=grant_id(uid), cluster_uid=cluster_uid))

    async def way(self, uid: str, path: str, password: Secret) -> Way:
        """The way into the member. password: the connect token in the Secret; empty: a new one is made."""
        status = await self._statuses.of(path)
        gateway = self._gateway.address
        if not gateway or not status.reachable:
            return Way(status.api_ca_pem, Secret(""), b"")
        relative = Path.parse(path).relative_to(self._inventory.own_path)
        assert relative is not None
        member = "/".join(relative.labels)
        if not password or not self._opens(password, uid, member):
            await self.close(uid)
            token, _row = await self._accesses.create(_access(uid), Role.VIEWER, None, member=member)
            password = Secret(token.text())
        url = proxy_url(dotted(member), password, gateway)
        return Way(status.api_ca_pem, Secret(url), self._authority.bundle().to_pem())

    async def close(self, uid: str) -> None:
        """End the way in, and every connection on it."""
        with suppress(NotFound):
            await self._accesses.revoke(_access(uid))

    def _opens(self, password: Secret, uid: str, member: str) -> bool:
        try:
            row = self._accesses.check_connect(password.reveal())
        except Unauthenticated:
            return False
        return row.name == _access(uid) and row.member == member


def life_of(token: Secret) -> float | None:
    """Seconds from its making to its end, as a JWT says itself; None: it is none, or doesn't say.

    Some providers cut a token's life short. The signature is for the member's API server to check.
    """
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        life = float(claims["exp"]) - float(claims["iat"])
    except (ValueError, KeyError, TypeError):
        return None
    return life if life > 0 else None


def _access(uid: str) -> str:
    return f"atr-{uid}"


def _act_as(requester: str) -> None:
    """What is called now is called for this request; hubs on the way check the role and write the name down."""
    caller.set(Caller(f"kubernetes/{requester}", Role.OPERATOR))
