"""Which methods may come from a hub above: those that are about one member, and the tree itself.

Everything else is done at the hub that it is about: workloads travel as assignments, and what an admin does never
travels. A method that is added here needs a handler that looks at nothing but its request and `caller`.
"""

from __future__ import annotations

from arbora.v1 import credential_pb2, event_pb2, gpu_pb2, member_pb2
from arbora_hub.api import members as names
from arbora_hub.api.credentials import CredentialService
from arbora_hub.api.events import LIST_EVENTS, EventService
from arbora_hub.api.gpus import GET_GPU, LIST_GPUS, SUMMARIZE_GPUS, GpuService
from arbora_hub.api.members import MemberService
from arbora_hub.credentials.minting import CREATE_TOKEN, LIST_GRANTS, REVOKE_GRANT
from arbora_hub.tree.gathering import GET_TREE
from arbora_hub.tree.serving import Handler


def handlers(
    members: MemberService, credentials: CredentialService, events: EventService, gpus: GpuService
) -> dict[str, Handler]:
    """The same handlers as on the client port, by the methods' full names."""
    return {
        names.GET_MEMBER: Handler(member_pb2.GetMemberRequest, members.GetMember),
        names.LABEL_MEMBER: Handler(member_pb2.LabelMemberRequest, members.LabelMember),
        names.TAINT_MEMBER: Handler(member_pb2.TaintMemberRequest, members.TaintMember),
        names.CORDON_MEMBER: Handler(member_pb2.CordonMemberRequest, members.CordonMember),
        GET_TREE: Handler(member_pb2.GetTreeRequest, members.GetTree),
        CREATE_TOKEN: Handler(credential_pb2.CreateTokenRequest, credentials.CreateToken),
        LIST_GRANTS: Handler(credential_pb2.ListGrantsRequest, credentials.ListGrants),
        REVOKE_GRANT: Handler(credential_pb2.RevokeGrantRequest, credentials.RevokeGrant),
        LIST_EVENTS: Handler(event_pb2.ListEventsRequest, events.ListEvents),
        LIST_GPUS: Handler(gpu_pb2.ListGpusRequest, gpus.ListGpus),
        GET_GPU: Handler(gpu_pb2.GetGpuRequest, gpus.GetGpu),
        SUMMARIZE_GPUS: Handler(gpu_pb2.SummarizeGpusRequest, gpus.SummarizeGpus),
    }
