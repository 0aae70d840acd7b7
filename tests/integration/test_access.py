"""Who may do what at a hub: every method, on every port, for every caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from arbora.errors import Conflict, NotFound, PermissionDenied, Unauthenticated
from arbora.rpc.channel import client_channel, session_channel
from arbora.rpc.status import error_from
from arbora.secret import Secret
from arbora.session.credential import Credential
from arbora.v1 import access_pb2, event_pb2, member_pb2
from arbora.v1.event_pb2_grpc import EventServiceStub
from arbora.v1.member_pb2_grpc import MemberServiceStub
from arbora_hub.changes import Changes
from arbora_hub.journal import NORMAL
from arbora_hub.ports import CONTRACT
from tests.support.child import enrolled
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, client_with, running_hub

# What each role adds to the one before: written down here once more, so that nobody widens it by accident.
VIEWER = """
    MemberService/ListMembers MemberService/GetMember MemberService/WatchMembers MemberService/GetTree
    WorkloadService/ListWorkloads WorkloadService/GetWorkload WorkloadService/WatchWorkloads
    WorkloadService/ExplainWorkload
    EventService/ListEvents EventService/WatchEvents AccessService/WhoAmI HubService/GetHub
    GpuService/ListGpus GpuService/GetGpu GpuService/SummarizeGpus
"""
OPERATOR = """
    MemberService/LabelMember MemberService/TaintMember MemberService/CordonMember
    WorkloadService/ApplyWorkload WorkloadService/DeleteWorkload CredentialService/CreateToken
    CredentialService/ListGrants CredentialService/RevokeGrant
    WorkloadService/RebalanceWorkload ConnectService/CreateConnectToken
"""
ADMIN = """
    MemberService/EvictMember EventService/ListAudit
    AccessService/CreateAccess AccessService/ListAccess AccessService/RevokeAccess
    JoinTokenService/CreateJoinToken JoinTokenService/ListJoinTokens JoinTokenService/RevokeJoinToken
    HubService/RotateAuthority HubService/MoveHub
"""
JOIN_PORT = "EnrollmentService/Enroll EnrollmentService/Explain"
SESSION_PORT = "SessionService/Connect RenewalService/Renew TunnelService/Tunnel"
ROLES = ("viewer", "operator", "admin")
ROLE_NUMBERS = {
    "viewer": access_pb2.ROLE_VIEWER,
    "operator": access_pb2.ROLE_OPERATOR,
    "admin": access_pb2.ROLE_ADMIN,
}


async def ended(call: Any) -> None:
    """Cancel a stream and see it end; a call that nobody waits for keeps its channel alive."""
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


@dataclass(frozen=True)
class Method:
    """One method of the contract."""

    descriptor: MethodDescriptor

    @property
    def name(self) -> str:
        """Service/Method."""
        return f"{self.descriptor.containing_service.name}/{self.descriptor.name}"

    @property
    def path(self) -> str:
        """As it travels."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    def request(self) -> Message:
        """One without any field set: whoever may call hears what is wrong with it."""
        return message_factory.GetMessageClass(self.descriptor.input_type)()

    async def outcome(self, channel: grpc.aio.Channel, hub: RunningHub) -> grpc.StatusCode:
        """Call it and say how it ended; a stream counts as OK with its first message."""
        kinds = {(False, False): channel.unary_unary, (False, True): channel.unary_stream}
        both = (self.descriptor.client_streaming, self.descriptor.server_streaming)
        answers = message_factory.GetMessageClass(self.descriptor.output_type)
        make = kinds.get(both, channel.stream_stream)
        call: Any = make(self.path, lambda message: message.SerializeToString(), answers.FromString)
        try:
            async with asyncio.timeout(5.0):
                if both == (False, False):
                    await call(self.request())
                else:
                    stream = call(iter([self.request()])) if both[0] else call(self.request())
                    await stream.initial_metadata()
                    # so that whoever watches events gets one
                    hub.hub.journal.event(NORMAL, "Something", "test/matrix", "happened")
                    if await stream.read() is grpc.aio.EOF:
                        return await stream.code()
                    await ended(stream)
        except grpc.aio.AioRpcError as failure:
            return failure.code()
        return grpc.StatusCode.OK


METHODS = {
    method.name: method
    for file in CONTRACT
    for service in file.services_by_name.values()
    for method in map(Method, service.methods)
}


def allowed(role: str) -> set[str]:
    """What a role may call on the client port."""
    texts = (VIEWER, OPERATOR, ADMIN)
    return {name for text in texts[: ROLES.index(role) + 1] for name in text.split()} if role in ROLES else set()


@asynccontextmanager
async def dialled(hub: RunningHub, bearer: str | None) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the client port with this bearer token, or with none."""
    secret = Secret(bearer) if bearer is not None else None
    async with client_channel(hub.context.hub, hub.context.ca.encode(), secret) as channel:
        yield channel


def of_child(child: Credential) -> grpc.aio.Channel:
    """To the session port, with a child's certificate."""
    return session_channel(child.session_address, child.bundle_pem(), child.key_pem, child.leaf_pem())


async def access(hub: RunningHub, name: str, role: str, lifetime: timedelta | None = None) -> str:
    """The bearer token of a new access."""
    return (await hub.admin.access.create(name, access_pb2.Role.Value(f"ROLE_{role.upper()}"), lifetime)).token


def test_every_method_of_the_contract_is_for_one_port_and_one_role() -> None:
    rows = [name for text in (VIEWER, OPERATOR, ADMIN, JOIN_PORT, SESSION_PORT) for name in text.split()]
    assert sorted(rows) == sorted(METHODS)


@pytest.mark.parametrize("role", [*ROLES, "no role", "no token"])
async def test_a_caller_may_call_what_its_role_allows_and_nothing_else(tmp_path: Path, role: str) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        bearer = await access(hub, "caller", role) if role in ROLES else None
        if role == "no role":
            bearer = "arbk.aaaaaaaaaa." + "a" * 52
        refusal = grpc.StatusCode.PERMISSION_DENIED if role in ROLES else grpc.StatusCode.UNAUTHENTICATED
        elsewhere = {*JOIN_PORT.split(), *SESSION_PORT.split()}
        wrong = []
        async with dialled(hub, bearer) as channel:
            for name, method in METHODS.items():
                code = await method.outcome(channel, hub)
                if name in elsewhere:
                    right = code is grpc.StatusCode.UNIMPLEMENTED
                elif name in allowed(role):
                    right = code in (
                        grpc.StatusCode.OK,
                        grpc.StatusCode.INVALID_ARGUMENT,
                        grpc.StatusCode.NOT_FOUND,
                    )
                else:
                    right = code is refusal
                if not right:
                    wrong.append(f"{name}: {code.name}")
        assert wrong == []


@pytest.mark.parametrize("port", ["join", "session"])
async def test_the_childrens_ports_serve_no_client_whatever_its_token(tmp_path: Path, port: str) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        child = await enrolled(hub, tmp_path, "edge-7")
        bearer = hub.context.token
        if port == "join":
            channel = client_channel(hub.hub.join_address, hub.context.ca.encode(), bearer)
        else:
            channel = of_child(child)
        own = {*JOIN_PORT.split()} if port == "join" else {*SESSION_PORT.split()}
        async with channel:
            codes = {
                name: await method.outcome(channel, hub) for name, method in METHODS.items() if name not in own
            }
        assert set(codes.values()) == {grpc.StatusCode.UNIMPLEMENTED}


async def test_a_refusal_says_which_role_is_needed_and_who_asked(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, client_with(hub, await access(hub, "eve", "viewer")) as eve:
        with pytest.raises(PermissionDenied, match="EvictMember needs the role admin; eve is viewer"):
            await eve.members.evict("edge-7")


async def test_an_unknown_a_wrong_and_a_malformed_token_read_the_same(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await access(hub, "eve", "admin")
        changed = token[:-1] + ("a" if token[-1] != "a" else "b")
        unknown = "arbk.aaaaaaaaaa." + token.rpartition(".")[2]
        told = []
        for text in (changed, unknown):
            async with client_with(hub, text) as client:
                with pytest.raises(Unauthenticated) as refused:
                    await client.access.whoami()
            told.append(str(refused.value))
        assert set(told) == {"the access token is not known at this hub"}
        for text in ("", "admin", f"{token}.more", token.upper(), "arbk..", "x" * 4000):
            async with client_with(hub, text) as client:
                with pytest.raises(Unauthenticated, match="no access token that this hub could know"):
                    await client.access.whoami()


async def test_an_access_ends_with_its_lifetime(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = await access(hub, "brief", "admin", timedelta(milliseconds=500))
        async with client_with(hub, token) as client:
            assert (await client.access.whoami()).name == "brief"

            async def refused() -> str:
                try:
                    await client.access.whoami()
                except Unauthenticated as error:
                    return str(error)
                return ""

            assert "the access brief ended at" in await eventually(refused, "the access ends", 3.0)


async def test_a_revoked_access_ends_at_once_also_over_a_restart(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token, kept = await access(hub, "eve", "admin"), await access(hub, "kept", "viewer")
        async with client_with(hub, token) as eve:
            await eve.access.whoami()
            await hub.admin.access.revoke("eve")
            with pytest.raises(Unauthenticated):
                await eve.access.whoami()
        with pytest.raises(NotFound):
            await hub.admin.access.revoke("eve")
    async with running_hub(tmp_path / "hub") as hub:
        async with client_with(hub, token) as eve, client_with(hub, kept) as other:
            with pytest.raises(Unauthenticated):
                await eve.access.whoami()
            assert (await other.access.whoami()).name == "kept"


async def test_a_watch_that_is_open_shows_nothing_more_once_the_access_is_revoked(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with dialled(hub, await access(hub, "eve", "viewer")) as channel:
            watch = EventServiceStub(channel).WatchEvents(event_pb2.WatchEventsRequest())
            await watch.initial_metadata()
            hub.hub.journal.event(NORMAL, "Before", "test/watch", "eve may see this")
            assert (await watch.read()).event.reason == "Before"
            await hub.admin.access.revoke("eve")
            hub.hub.journal.event(NORMAL, "After", "test/watch", "eve may not see this")
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await watch.read()
            assert isinstance(error_from(ended.value), Unauthenticated)


async def test_the_last_admin_can_not_be_revoked(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        with pytest.raises(Conflict, match="last admin"):
            await hub.admin.access.revoke("admin")
        await access(hub, "second", "admin")
        await hub.admin.access.revoke("admin")
        with pytest.raises(Unauthenticated):
            await hub.admin.access.whoami()


# what goes wrong inside


async def test_an_internal_error_shows_its_id_and_not_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path / "hub") as hub:

        def broken(*_: object) -> None:
            raise RuntimeError("canary-in-an-exception")

        monkeypatch.setattr(hub.hub.inventory, "resolve", broken)
        monkeypatch.setattr(Changes, "subscribe", broken)
        async with dialled(hub, hub.context.token.reveal()) as channel:
            stub = MemberServiceStub(channel)
            failures = []
            for call in (
                stub.GetMember(member_pb2.GetMemberRequest(path="a")),
                stub.CordonMember(member_pb2.CordonMemberRequest(path="a")),
                stub.WatchMembers(member_pb2.WatchMembersRequest()).read(),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await call
                failures.append(failed.value)
            garbage = channel.unary_unary("/arbora.v1.MemberService/GetMember")
            with pytest.raises(grpc.aio.AioRpcError) as unreadable:
                await garbage(b"\xff canary-in-a-request")
        for failure in failures:
            assert failure.code() is grpc.StatusCode.INTERNAL
            assert failure.details().startswith("internal error ")
        shown = [
            f"{failure.details()} {failure.trailing_metadata()}" for failure in (*failures, unreadable.value)
        ]
        assert [text for text in shown if "canary" in text or "Traceback" in text] == []
        assert (await hub.audit())[0].outcome == "INTERNAL"


# grpc's own services


async def test_health_answers_anybody_and_reflection_those_who_may_read(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with dialled(hub, None) as stranger:
            health = health_pb2_grpc.HealthStub(stranger)
            status = (await health.Check(health_pb2.HealthCheckRequest())).status
            assert status == health_pb2.HealthCheckResponse.SERVING
            watch = health.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            await ended(watch)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await services(stranger)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            named = await services(stranger, await access(hub, "eve", "viewer"))
    ports = {name.partition("/")[0] for text in (VIEWER, OPERATOR, ADMIN) for name in text.split()}
    assert {f"arbora.v1.{name}" for name in ports} <= named
    assert "grpc.health.v1.Health" in named


async def services(channel: grpc.aio.Channel, bearer: str = "") -> set[str]:
    """What reflection lists."""
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
        metadata=(("authorization", f"Bearer {bearer}"),) if bearer else (),
    )
    answer = await call.read()
    assert answer is not grpc.aio.EOF, await call.code()
    await ended(call)
    return {service.name for service in answer.list_services_response.service}
