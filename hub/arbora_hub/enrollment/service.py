"""EnrollmentService and RenewalService: decode, call, encode."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from arbora.errors import InvalidInput
from arbora.identity import issue
from arbora.identity.names import Kind
from arbora.rpc.guard import Context, caller
from arbora.v1 import enrollment_pb2 as pb
from arbora.v1 import enrollment_pb2_grpc
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.enrollment.enrollment import Enrollment, Issued
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.unbroken import unbroken

KINDS: dict[int, Kind] = {pb.CHILD_KIND_AGENT: Kind.AGENT, pb.CHILD_KIND_HUB: Kind.HUB}

_FLAWS = {
    issue.Flaw.EXPIRED: pb.REFUSAL_MUST_REJOIN,
    issue.Flaw.UNKNOWN_AUTHORITY: pb.REFUSAL_MUST_REJOIN,
    issue.Flaw.WRONG_USAGE: pb.REFUSAL_MUST_REJOIN,
    issue.Flaw.NOT_YET_VALID: pb.REFUSAL_PROTOCOL,
}


class EnrollmentService(enrollment_pb2_grpc.EnrollmentServiceServicer):
    """Served on the join port."""

    def __init__(
        self, enrollment: Enrollment, authority: HubAuthority, inventory: Inventory, session_address: str
    ) -> None:
        """session_address: what children are told to dial; its host may be empty."""
        self._enrollment = enrollment
        self._authority = authority
        self._inventory = inventory
        self._session_address = session_address

    async def Enroll(self, request: pb.EnrollRequest, context: Context) -> pb.EnrollResponse:
        """See enrollment.proto."""
        kind = KINDS.get(request.kind)
        if kind is None:
            raise InvalidInput("is neither agent nor hub", field="kind")
        issued = await unbroken(
            self._enrollment.enroll(
                request.token,
                request.csr,
                kind,
                request.name,
                request.cluster_uid,
                request.version,
                caller.get().address,
            )
        )
        return pb.EnrollResponse(
            name=issued.name,
            path=str(self._inventory.own_path.child(issued.name)),
            certificate=_certificate(issued, self._authority),
            session_address=self._session_address,
        )

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """See enrollment.proto."""
        leaf = issue.load_leaf(request.certificate)
        explanation = self._authority.explain(leaf)
        if explanation is not None:
            return pb.ExplainResponse(refusal=_FLAWS[explanation.flaw], message=explanation.sentence)
        identity = issue.peer_identity(leaf)
        child = self._inventory.find(identity.name)
        if child is None:
            return pb.ExplainResponse(
                refusal=pb.REFUSAL_BANNED, message=f"{identity.name} is not a member of this hub."
            )
        if f"{leaf.serial_number:x}" not in (child.row.serial_current, child.row.serial_new):
            return pb.ExplainResponse(refusal=pb.REFUSAL_NOT_ACTIVE, message="A newer certificate is in use.")
        return pb.ExplainResponse(refusal=pb.REFUSAL_NONE, message="Nothing is wrong with the certificate.")


class RenewalService(enrollment_pb2_grpc.RenewalServiceServicer):
    """Served on the session port."""

    def __init__(self, enrollment: Enrollment, authority: HubAuthority) -> None:
        self._enrollment = enrollment
        self._authority = authority

    async def Renew(self, request: pb.RenewRequest, context: Context) -> pb.RenewResponse:
        """See enrollment.proto."""
        peer = caller.get().peer
        assert peer is not None
        issued = await unbroken(self._enrollment.renew(peer, request.csr))
        return pb.RenewResponse(certificate=_certificate(issued, self._authority))


def _certificate(issued: Issued, authority: HubAuthority) -> pb.Certificate:
    return pb.Certificate(
        leaf=issued.leaf, trust_bundle=authority.bundle_der(), lifetime=Duration(seconds=int(issued.lifetime))
    )
