"""Tokens of service accounts in members, and the rights that came with them: `hub.tokens`.

The token travels sealed to a key that is made here for this one call, so no hub on the way can read it, however
many there are. The seal binds request and member: an answer meant for another request does not open, and one of
another member than the one that was named is not even tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from arbora.client.calls import Calls
from arbora.errors import PermissionDenied
from arbora.identity.names import Path
from arbora.identity.seal import new_recipient, open_sealed, token_context
from arbora.secret import Secret
from arbora.v1 import credential_pb2 as pb
from arbora.v1.credential_pb2_grpc import CredentialServiceStub


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and what is known of it."""

    secret: Secret
    lifetime: timedelta
    """How long it lives from now; the member may have cut short what was asked for."""
    member: str
    """Path of the member that made it."""
    steps: tuple[pb.GrantStep, ...] = ()
    """What was done for the grant; nothing if none was asked for."""


class Tokens:
    """Asks members for tokens. Every method raises ArboraError."""

    def __init__(self, channel: grpc.aio.Channel, calls: Calls) -> None:
        self._stub = CredentialServiceStub(channel)
        self._calls = calls

    async def create(
        self,
        member: str,
        namespace: str,
        service_account: str,
        audiences: Iterable[str] = (),
        lifetime: timedelta | None = None,
        *,
        grant: pb.Grant | None = None,
        cluster_uid: str = "",
    ) -> Token:
        """A new token. audiences: none means the API server's own. lifetime: None means one hour.

        grant: what the account may do: the member makes what is missing, and keeps it under the grant's id until
        it is revoked. Asking again with the id repairs it, and takes away what is no longer asked for.
        cluster_uid: of the namespace kube-system; another cluster than that one refuses.
        """
        private, recipient = new_recipient()
        request = pb.CreateTokenRequest(
            member=member,
            namespace=namespace,
            service_account=service_account,
            audiences=list(audiences),
            recipient=recipient,
            grant=grant,
            cluster_uid=cluster_uid,
        )
        if lifetime is not None:
            duration = Duration()
            duration.FromTimedelta(lifetime)
            request.lifetime.CopyFrom(duration)
        answer = await self._calls.write(self._stub.CreateToken, request)
        path = Path.parse(answer.member)
        if not _is_named(path, member):
            raise PermissionDenied(
                f"{path} answered in place of {member}",
                hint="A hub on the way misdirected the call; see its log.",
            )
        context = token_context(answer.id, path)
        secret = open_sealed(private, answer.token.ciphertext, context=context)
        lifetime = answer.token.lifetime.ToTimedelta()
        return Token(Secret(secret.decode()), lifetime, answer.member, tuple(answer.steps))

    async def grants(self, member: str) -> list[pb.GrantInfo]:
        """The grants that a member keeps, in the order of their ids."""
        return list((await self._calls.read(self._stub.ListGrants, pb.ListGrantsRequest(member=member))).grants)

    async def revoke(self, member: str, id: str, *, cluster_uid: str = "") -> None:
        """Take a grant back: what was made for it alone is deleted. One that is not there is no error.

        Tokens of an account that goes with it are dead; those of one that stays live on without these roles.
        """
        request = pb.RevokeGrantRequest(member=member, id=id, cluster_uid=cluster_uid)
        await self._calls.write(self._stub.RevokeGrant, request)


def _is_named(path: Path, text: str) -> bool:
    """Whether `text`, from the root or from the hub that was asked, can mean what stands at `path`."""
    named = Path.parse(text).labels
    return path.labels == named if text.startswith("/") else path.labels[-len(named) :] == named
