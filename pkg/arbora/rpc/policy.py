"""One table: which method is served on which port, and who may call it. Deny by default.

A method without a row fails at start (`check_complete`), so a new RPC can't be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from arbora.identity.bearer import Role


class Who(Enum):
    """Callers that have no role."""

    ANYONE = "anyone"
    """Not even authenticated; the method itself decides (join tokens)."""
    CHILD = "child"
    """A child with a valid certificate of this hub."""
    NODE = "node"
    """An agent of a node of the own cluster, with a token that the API server vouches for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a method, and whether a call is an entry in the audit log."""

    who: Who | Role
    mutates: bool = False


def _reads(who: Who | Role) -> Rule:
    return Rule(who)


def _writes(who: Who | Role) -> Rule:
    return Rule(who, mutates=True)


POLICY: dict[str, Rule] = {
    # join port
    "/arbora.v1.EnrollmentService/Enroll": _writes(Who.ANYONE),
    "/arbora.v1.EnrollmentService/Explain": _reads(Who.ANYONE),
    # session port
    "/arbora.v1.SessionService/Connect": _reads(Who.CHILD),
    "/arbora.v1.RenewalService/Renew": _writes(Who.CHILD),
    "/arbora.v1.TunnelService/Tunnel": _reads(Who.CHILD),
    # client port
    "/arbora.v1.MemberService/ListMembers": _reads(Role.VIEWER),
    "/arbora.v1.MemberService/GetMember": _reads(Role.VIEWER),
    "/arbora.v1.MemberService/WatchMembers": _reads(Role.VIEWER),
    "/arbora.v1.MemberService/LabelMember": _writes(Role.OPERATOR),
    "/arbora.v1.MemberService/TaintMember": _writes(Role.OPERATOR),
    "/arbora.v1.MemberService/CordonMember": _writes(Role.OPERATOR),
    "/arbora.v1.MemberService/EvictMember": _writes(Role.ADMIN),
    "/arbora.v1.MemberService/GetTree": _reads(Role.VIEWER),
    "/arbora.v1.GpuService/ListGpus": _reads(Role.VIEWER),
    "/arbora.v1.GpuService/GetGpu": _reads(Role.VIEWER),
    "/arbora.v1.GpuService/SummarizeGpus": _reads(Role.VIEWER),
    "/arbora.v1.WorkloadService/ApplyWorkload": _writes(Role.OPERATOR),
    "/arbora.v1.WorkloadService/ListWorkloads": _reads(Role.VIEWER),
    "/arbora.v1.WorkloadService/GetWorkload": _reads(Role.VIEWER),
    "/arbora.v1.WorkloadService/WatchWorkloads": _reads(Role.VIEWER),
    "/arbora.v1.WorkloadService/DeleteWorkload": _writes(Role.OPERATOR),
    "/arbora.v1.WorkloadService/ExplainWorkload": _reads(Role.VIEWER),
    "/arbora.v1.WorkloadService/RebalanceWorkload": _writes(Role.OPERATOR),
    "/arbora.v1.CredentialService/CreateToken": _writes(Role.OPERATOR),
    "/arbora.v1.CredentialService/ListGrants": _reads(Role.OPERATOR),
    "/arbora.v1.CredentialService/RevokeGrant": _writes(Role.OPERATOR),
    "/arbora.v1.ConnectService/CreateConnectToken": _writes(Role.OPERATOR),
    "/arbora.v1.EventService/ListEvents": _reads(Role.VIEWER),
    "/arbora.v1.EventService/WatchEvents": _reads(Role.VIEWER),
    "/arbora.v1.EventService/ListAudit": _reads(Role.ADMIN),
    "/arbora.v1.AccessService/CreateAccess": _writes(Role.ADMIN),
    "/arbora.v1.AccessService/ListAccess": _reads(Role.ADMIN),
    "/arbora.v1.AccessService/RevokeAccess": _writes(Role.ADMIN),
    "/arbora.v1.AccessService/WhoAmI": _reads(Role.VIEWER),
    "/arbora.v1.JoinTokenService/CreateJoinToken": _writes(Role.ADMIN),
    "/arbora.v1.JoinTokenService/ListJoinTokens": _reads(Role.ADMIN),
    "/arbora.v1.JoinTokenService/RevokeJoinToken": _writes(Role.ADMIN),
    "/arbora.v1.HubService/GetHub": _reads(Role.VIEWER),
    "/arbora.v1.HubService/RotateAuthority": _writes(Role.ADMIN),
    "/arbora.v1.HubService/MoveHub": _writes(Role.ADMIN),
    # grpc's own services, on the client port
    "/grpc.health.v1.Health/Check": _reads(Who.ANYONE),
    "/grpc.health.v1.Health/List": _reads(Who.ANYONE),
    "/grpc.health.v1.Health/Watch": _reads(Who.ANYONE),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _reads(Role.VIEWER),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _reads(Role.VIEWER),
}


NODE_POLICY: dict[str, Rule] = {
    "/arbora.v1.SessionService/Connect": _reads(Who.NODE),
}
"""The same for the one port of a cluster's agent, where the agents of its nodes dial."""


def check_complete(methods: Iterable[str], policy: dict[str, Rule] = POLICY) -> None:
    """Raise RuntimeError naming every method of `methods` that has no row."""
    missing = sorted(set(methods) - policy.keys())
    if missing:
        raise RuntimeError(f"no policy for {', '.join(missing)}: add a row to arbora/rpc/policy.py")
