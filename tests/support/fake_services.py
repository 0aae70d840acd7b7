"""The services of the hub for clients' tests (`fake_hub.py`): the generated servicers over its state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc

from arbora.errors import Conflict, NotFound, PermissionDenied
from arbora.identity.names import Path
from arbora.identity.seal import seal, token_context
from arbora.v1 import (
    access_pb2,
    access_pb2_grpc,
    credential_pb2,
    credential_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
    gpu_pb2_grpc,
    member_pb2,
    member_pb2_grpc,
    tunnel_pb2_grpc,
    workload_pb2,
    workload_pb2_grpc,
)
from tests.support.fake_connect import Connect
from tests.support.fake_gpus import Gpus

if TYPE_CHECKING:
    from tests.support.fake_hub import FakeHub

PAGE = 2
"""Small, so that a few items already make several pages."""


def add_services(hub: FakeHub, server: grpc.Server) -> None:
    """Serve all of them."""
    member_pb2_grpc.add_MemberServiceServicer_to_server(_Members(hub), server)
    gpu_pb2_grpc.add_GpuServiceServicer_to_server(Gpus(hub), server)
    workload_pb2_grpc.add_WorkloadServiceServicer_to_server(_Workloads(hub), server)
    credential_pb2_grpc.add_CredentialServiceServicer_to_server(_Credentials(hub), server)
    event_pb2_grpc.add_EventServiceServicer_to_server(_Events(hub), server)
    access_pb2_grpc.add_AccessServiceServicer_to_server(_Access(hub), server)
    tunnel_pb2_grpc.add_ConnectServiceServicer_to_server(Connect(hub), server)
    access_pb2_grpc.add_JoinTokenServiceServicer_to_server(_JoinTokens(hub), server)
    access_pb2_grpc.add_HubServiceServicer_to_server(_Hub(hub), server)


def _page(items: list[Any], token: str) -> tuple[list[Any], str]:
    start = int(token or 0)
    return items[start : start + PAGE], str(start + PAGE) if start + PAGE < len(items) else ""


class _Members(member_pb2_grpc.MemberServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def _find(self, path: str) -> member_pb2.Member:
        found = self._hub.members.get(path) or self._hub.members.get(f"/{path}")
        if found is None:
            raise NotFound(f"no member {path}", hint="See `arbora members list`.")
        return found

    def ListMembers(self, request: Any, context: Any) -> Any:
        wanted = dict(term.split("=") for term in request.selector.split(",") if term)
        found = [m for _, m in sorted(self._hub.members.items()) if wanted.items() <= dict(m.labels).items()]
        items, token = _page(found, request.page_token)
        return member_pb2.ListMembersResponse(members=items, next_page_token=token)

    def GetMember(self, request: Any, context: Any) -> Any:
        return member_pb2.GetMemberResponse(member=self._find(request.path))

    def GetTree(self, request: Any, context: Any) -> Any:
        tree = member_pb2.GetTreeResponse()
        for path, member in sorted(self._hub.members.items()):
            depth = path.count("/") - request.path.strip("/").count("/") - bool(request.path.strip("/"))
            if path.startswith(f"{request.path.rstrip('/')}/") and depth <= (request.depth or depth):
                line = tree.lines.add(path=path, kind=member.kind, liveness=member.liveness, labels=member.labels)
                for sketch in member.sketches:
                    total, free = (sum(getattr(row, name) for row in sketch.rows) for name in ("total", "free"))
                    line.gpus.add(gpu_class=sketch.gpu_class, total=total, free=free)
        return tree

    def WatchMembers(self, request: Any, context: Any) -> Iterator[Any]:
        for _, member in sorted(self._hub.members.items()):
            yield member_pb2.WatchMembersResponse(member=member)
        yield member_pb2.WatchMembersResponse(synced=True)

    def LabelMember(self, request: Any, context: Any) -> Any:
        member = self._find(request.path)
        member.labels.update(request.set)
        for key in request.remove:
            member.labels.pop(key, None)
        return member_pb2.LabelMemberResponse(member=member)

    def TaintMember(self, request: Any, context: Any) -> Any:
        member = self._find(request.path)
        kept = [
            taint
            for taint in member.taints
            if not any(
                r.key == taint.key and r.effect in (0, taint.effect) for r in (*request.set, *request.remove)
            )
        ]
        del member.taints[:]
        member.taints.extend([*kept, *request.set])
        return member_pb2.TaintMemberResponse(member=member)

    def CordonMember(self, request: Any, context: Any) -> Any:
        member = self._find(request.path)
        member.cordoned = request.cordoned
        return member_pb2.CordonMemberResponse(member=member)

    def EvictMember(self, request: Any, context: Any) -> Any:
        member = self._find(request.path)
        del self._hub.members[member.path]
        self._hub.evicted.append((member.path, request.reason))
        return member_pb2.EvictMemberResponse()


class _Workloads(workload_pb2_grpc.WorkloadServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def _find(self, name: str) -> workload_pb2.Workload:
        if name not in self._hub.workloads:
            raise NotFound(f"no workload {name}")
        return self._hub.workloads[name]

    def ApplyWorkload(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            old = self._hub.workloads.get(request.name)
            outcome = workload_pb2.APPLY_OUTCOME_CREATED
            if old is not None:
                same = old.spec == request.spec and old.labels == request.labels
                outcome = workload_pb2.APPLY_OUTCOME_UNCHANGED if same else workload_pb2.APPLY_OUTCOME_CHANGED
            if outcome == workload_pb2.APPLY_OUTCOME_UNCHANGED:
                return workload_pb2.ApplyWorkloadResponse(workload=old, outcome=outcome)
            workload = workload_pb2.Workload(
                uid=f"uid-{request.name}",
                name=request.name,
                labels=request.labels,
                generation=old.generation + 1 if old else 1,
                spec=request.spec,
                state=workload_pb2.WORKLOAD_STATE_PENDING,
            )
            workload.created.GetCurrentTime()
            wanted = {path if path.startswith("/") else f"/{path}" for path in request.spec.placement.members}
            if request.spec.placement.HasField("selector"):
                terms = dict(request.spec.placement.selector.match_labels).items()
                wanted |= {p for p, member in self._hub.members.items() if terms <= dict(member.labels).items()}
            for path in sorted(wanted & self._hub.members.keys()):
                workload.assignments.add(path=path, generation=workload.generation)
            warnings = [f"{path} is no member" for path in sorted(wanted - self._hub.members.keys())]
            if not request.dry_run:
                self._hub.workloads[request.name] = workload
                self._hub.touch()
            return workload_pb2.ApplyWorkloadResponse(
                workload=workload,
                outcome=outcome,
                warnings=warnings,
                explanation=self._hub.explanations.get(request.name),
                differences=self._hub.differences.get(request.name, {}) if request.dry_run else {},
            )

    def ExplainWorkload(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            workload = self._find(request.name)
            return workload_pb2.ExplainWorkloadResponse(explanation=self._hub.explanations.get(workload.name))

    def RebalanceWorkload(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            workload = self._find(request.name)
            explanation = workload_pb2.Explanation()
            explanation.CopyFrom(self._hub.explanations.get(request.name, explanation))
            before = {part.path: part.replicas for part in workload.assignments}
            wanted = self._hub.divided_afresh.get(request.name)
            if wanted is not None:
                del explanation.scored[:]
                for path, replicas in sorted(wanted.items()):
                    explanation.scored.add(path=path, replicas=replicas)
            if wanted is not None and not request.dry_run:
                del workload.assignments[:]
                for path, replicas in sorted(wanted.items()):
                    workload.assignments.add(path=path, generation=workload.generation, replicas=replicas)
                self._hub.touch()
            after = before if wanted is None else wanted
            moves = [
                workload_pb2.MemberMove(path=path, before=before.get(path), after=after.get(path))
                for path in sorted({*before, *after})
                if before.get(path) != after.get(path)
            ]
            return workload_pb2.RebalanceWorkloadResponse(workload=workload, explanation=explanation, moves=moves)

    def ListWorkloads(self, request: Any, context: Any) -> Any:
        items, token = _page([w for _, w in sorted(self._hub.workloads.items())], request.page_token)
        return workload_pb2.ListWorkloadsResponse(workloads=items, next_page_token=token)

    def GetWorkload(self, request: Any, context: Any) -> Any:
        return workload_pb2.GetWorkloadResponse(workload=self._find(request.name))

    def DeleteWorkload(self, request: Any, context: Any) -> Any:
        with self._hub.changed:
            workload = self._find(request.name)
            del self._hub.workloads[request.name]
            self._hub.touch()
            return workload_pb2.DeleteWorkloadResponse(workload=workload)

    def WatchWorkloads(self, request: Any, context: Any) -> Iterator[Any]:
        hub = self._hub
        sent: dict[str, bytes] = {}
        synced = False
        context.add_callback(lambda: self._wake())
        while context.is_active():
            with hub.changed:
                seen = hub.version
                current = {n: w for n, w in hub.workloads.items() if request.name in ("", n)}
                copies = {
                    name: workload_pb2.Workload.FromString(w.SerializeToString()) for name, w in current.items()
                }
            for name in [name for name in sent if name not in copies]:
                del sent[name]
                yield workload_pb2.WatchWorkloadsResponse(workload=workload_pb2.Workload(name=name), gone=True)
            for name, workload in sorted(copies.items()):
                if sent.get(name) != workload.SerializeToString():
                    sent[name] = workload.SerializeToString()
                    yield workload_pb2.WatchWorkloadsResponse(workload=workload)
            if not synced:
                synced = True
                yield workload_pb2.WatchWorkloadsResponse(synced=True)
            with hub.changed:
                hub.changed.wait_for(lambda seen=seen: hub.version != seen or not context.is_active(), 15)

    def _wake(self) -> None:
        with self._hub.changed:
            self._hub.changed.notify_all()


class _Credentials(credential_pb2_grpc.CredentialServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def CreateToken(self, request: Any, context: Any) -> Any:
        path = request.member if request.member.startswith("/") else f"/{request.member}"
        if path not in self._hub.members:
            raise NotFound(f"no member {request.member}")
        if (request.namespace, request.service_account) not in self._hub.allowed_tokens:
            raise PermissionDenied(
                f"{path} does not give out tokens of {request.namespace}/{request.service_account}"
            )
        sealed = seal(
            request.recipient, self._hub.member_secret.encode(), context=token_context("t1", Path.parse(path))
        )
        answer = credential_pb2.CreateTokenResponse(id="t1", member=path)
        answer.token.ciphertext = sealed
        answer.token.lifetime.FromTimedelta(min(request.lifetime.ToTimedelta(), timedelta(minutes=30)))
        if request.HasField("grant"):
            self._hub.grants[(path, request.grant.id)] = credential_pb2.GrantInfo(
                id=request.grant.id,
                namespace=request.namespace,
                service_account=request.service_account,
                roles=request.grant.roles,
                cluster_roles=request.grant.cluster_roles,
                requester="access/test",
                made=[f"ServiceAccount {request.namespace}/{request.service_account}"],
            )
            answer.steps.add(type="ServiceAccountFoundOrCreated", reason="Created")
        return answer

    def ListGrants(self, request: Any, context: Any) -> Any:
        path = f"/{request.member.removeprefix('/')}"
        kept = [grant for (member, _), grant in sorted(self._hub.grants.items()) if member == path]
        return credential_pb2.ListGrantsResponse(grants=kept, member=path)

    def RevokeGrant(self, request: Any, context: Any) -> Any:
        self._hub.grants.pop((f"/{request.member.removeprefix('/')}", request.id), None)
        return credential_pb2.RevokeGrantResponse()


class _Events(event_pb2_grpc.EventServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def ListEvents(self, request: Any, context: Any) -> Any:
        subject = request.subject
        found = [
            e for e in reversed(self._hub.events) if not subject or f"{e.subject}/".startswith(f"{subject}/")
        ]
        items, token = _page(found, request.page_token)
        return event_pb2.ListEventsResponse(events=items, next_page_token=token)

    def WatchEvents(self, request: Any, context: Any) -> Iterator[Any]:
        hub = self._hub
        context.add_callback(self._wake)
        with hub.changed:
            position = len(hub.events)
            hub.watchers += 1
            hub.changed.notify_all()
        while context.is_active():
            with hub.changed:
                hub.changed.wait_for(lambda old=position: len(hub.events) > old or not context.is_active(), 15)
                fresh = hub.events[position:]
            position += len(fresh)
            for event in fresh:
                yield event_pb2.WatchEventsResponse(event=event)

    def _wake(self) -> None:
        with self._hub.changed:
            self._hub.changed.notify_all()

    def ListAudit(self, request: Any, context: Any) -> Any:
        items, token = _page(list(reversed(self._hub.audit)), request.page_token)
        return event_pb2.ListAuditResponse(entries=items, next_page_token=token)


class _Access(access_pb2_grpc.AccessServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def CreateAccess(self, request: Any, context: Any) -> Any:
        if request.name in self._hub.access:
            raise Conflict(f"there is an access {request.name} already", hint="Revoke it first.")
        access = access_pb2.Access(name=request.name, role=request.role)
        access.created.GetCurrentTime()
        if request.HasField("lifetime"):
            access.expires.FromDatetime(datetime.now(UTC) + request.lifetime.ToTimedelta())
        self._hub.access[request.name] = access
        return access_pb2.CreateAccessResponse(
            access=access, token=f"arbk.{request.name}.new", ca_pem=self._hub.ca_pem.decode()
        )

    def ListAccess(self, request: Any, context: Any) -> Any:
        return access_pb2.ListAccessResponse(access=[a for _, a in sorted(self._hub.access.items())])

    def RevokeAccess(self, request: Any, context: Any) -> Any:
        if self._hub.access.pop(request.name, None) is None:
            raise NotFound(f"no access {request.name}")
        return access_pb2.RevokeAccessResponse()

    def WhoAmI(self, request: Any, context: Any) -> Any:
        return access_pb2.WhoAmIResponse(access=access_pb2.Access(name="test", role=access_pb2.ROLE_ADMIN))


class _JoinTokens(access_pb2_grpc.JoinTokenServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def CreateJoinToken(self, request: Any, context: Any) -> Any:
        number = len(self._hub.join_tokens)
        token = access_pb2.JoinToken(
            id=f"id{number}", name=request.name, kind=request.kind, labels=request.labels, uses_left=request.uses
        )
        token.expires.FromDatetime(datetime.now(UTC) + request.lifetime.ToTimedelta())
        self._hub.join_tokens[token.id] = token
        return access_pb2.CreateJoinTokenResponse(
            join_token=token, token=f"arb1.{token.id}.secret.pin", join_address="hub.example.org:7444"
        )

    def ListJoinTokens(self, request: Any, context: Any) -> Any:
        return access_pb2.ListJoinTokensResponse(join_tokens=self._hub.join_tokens.values())

    def RevokeJoinToken(self, request: Any, context: Any) -> Any:
        if self._hub.join_tokens.pop(request.id, None) is None:
            raise NotFound(f"no join token {request.id}")
        return access_pb2.RevokeJoinTokenResponse()


class _Hub(access_pb2_grpc.HubServiceServicer):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def GetHub(self, request: Any, context: Any) -> Any:
        answer = access_pb2.GetHubResponse(
            id="h1",
            version="0.1.0",
            path="/",
            join_address="hub.example.org:7444",
            authority=self._hub.authority,
            members={"Online": len(self._hub.members)},
            workloads=len(self._hub.workloads),
            trust_domain="fake.example.org",
            uplink=self._hub.uplink,
        )
        answer.uptime.FromTimedelta(timedelta(minutes=2, seconds=3))
        return answer

    def MoveHub(self, request: Any, context: Any) -> Any:
        self._hub.uplink = None
        if not request.detach:
            self._hub.uplink = access_pb2.Uplink(
                parent=request.parent, phase="online", message="online as /eu", exports="lines"
            )
        path = "/" if request.detach else "/eu"
        return access_pb2.MoveHubResponse(path=path, uplink=self._hub.uplink)

    def RotateAuthority(self, request: Any, context: Any) -> Any:
        phases = [key.phase for key in self._hub.authority]
        if request.step == "prepare" and "prepared" not in phases:
            self._hub.authority.append(access_pb2.AuthorityKey(serial="b2", phase="prepared", pin="cd" * 32))
        else:
            raise Conflict(f"the rotation is not at {request.step}", hint="See `arbora hub info`.")
        return access_pb2.RotateAuthorityResponse(authority=self._hub.authority)
