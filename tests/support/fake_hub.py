"""A hub for clients' tests: the generated services over TLS, with small real state in memory.

It runs in threads of its own, so that a test can drive the synchronous command line as well as the asyncio
client against it. It decides nothing clever: members are given, workloads are set to a state by the test.
What it checks, it checks for real: the bearer token, names, pages, watches that coalesce nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import grpc
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.context import Context
from arbora.errors import ArboraError, Unauthenticated
from arbora.identity import keys
from arbora.identity.authority import make_authority, to_pem
from arbora.identity.issue import issue_server
from arbora.rpc.status import code_of, detail_of
from arbora.secret import Secret
from arbora.v1 import access_pb2, credential_pb2, enrollment_pb2, event_pb2, gpu_pb2, member_pb2, workload_pb2
from tests.support.fake_gpus import make_gpu
from tests.support.fake_services import add_services


def _guarded(handler: grpc.RpcMethodHandler, hub: FakeHub, method: str) -> grpc.RpcMethodHandler:
    """Every call: a valid bearer, a planned failure if there is one, ArboraErrors as the real hub sends them."""

    def enter(context: grpc.ServicerContext) -> None:
        with hub.changed:
            hub.calls.append(method)
            hub.changed.notify_all()
            if hub.failures:
                raise hub.failures.pop(0)
        bearer = dict(context.invocation_metadata()).get("authorization")
        if bearer != f"Bearer {hub.token}":
            raise Unauthenticated("the bearer token is not known", hint="Ask an admin for access.")

    def fail(context: grpc.ServicerContext, error: ArboraError) -> None:
        context.set_trailing_metadata(detail_of(error))
        context.abort(code_of(error), str(error))

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            enter(context)
            return handler.unary_unary(request, context)
        except ArboraError as error:
            fail(context, error)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            enter(context)
            yield from handler.unary_stream(request, context)
        except ArboraError as error:
            fail(context, error)

    make = (
        grpc.unary_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        stream if handler.response_streaming else unary, handler.request_deserializer, handler.response_serializer
    )


class _Guard(grpc.ServerInterceptor):
    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        return handler and _guarded(handler, self._hub, details.method.rpartition("/")[2])


class FakeHub:
    """The server and its state. Its lists and maps may be changed at any time."""

    def __init__(self) -> None:
        self.token = "arbk.fakeid.fakesecret"
        self.changed = threading.Condition(threading.RLock())
        self.calls: list[str] = []
        self.failures: list[ArboraError] = []
        """What the next calls fail with, in order."""
        self.members: dict[str, member_pb2.Member] = {}
        self.gpus: list[gpu_pb2.Gpu] = []
        self.gpu_minutes: dict[str, list[gpu_pb2.GpuMinute]] = {}
        """By UUID: the history of a device, oldest first."""
        self.workloads: dict[str, workload_pb2.Workload] = {}
        self.explanations: dict[str, workload_pb2.Explanation] = {}
        """By workload: what the hub says about its placement."""
        self.differences: dict[str, dict[str, str]] = {}
        """By workload, then by member: what overrides change."""
        self.divided_afresh: dict[str, dict[str, int]] = {}
        """By workload, then by member: the replicas that a rebalance comes to."""
        self.gone: list[workload_pb2.Workload] = []
        self.evicted: list[tuple[str, str]] = []
        self.events: list[event_pb2.Event] = []
        self.audit: list[event_pb2.AuditEntry] = []
        self.access: dict[str, access_pb2.Access] = {}
        self.gateway = "gateway.example.org:7447"
        """host:port of the gateway into members; empty: there is none."""
        self.join_tokens: dict[str, access_pb2.JoinToken] = {}
        self.allowed_tokens: set[tuple[str, str]] = {("team", "runner")}
        self.grants: dict[tuple[str, str], credential_pb2.GrantInfo] = {}
        self.member_secret = "a-token-of-the-member"
        self.authority = [access_pb2.AuthorityKey(serial="a1", phase="active", pin="ab" * 32)]
        self.uplink: access_pb2.Uplink | None = None
        self.version = 0
        self.watchers = 0
        """Watches of events that have begun."""

    def __enter__(self) -> Self:
        now = datetime.now(UTC)
        authority = make_authority("fake.example.org", now)
        key = keys.new_key()
        leaf = issue_server(authority, key.public_key(), ("127.0.0.1",), now, timedelta(hours=1))
        self.ca_pem = to_pem(authority)[0]
        chain = leaf.public_bytes(Encoding.PEM) + self.ca_pem
        self._server = grpc.server(ThreadPoolExecutor(8), interceptors=[_Guard(self)])
        add_services(self, self._server)
        credentials = grpc.ssl_server_credentials([(keys.to_pem(key), chain)])
        self.address = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', credentials)}"
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0).wait()

    @property
    def context(self) -> Context:
        """How a client reaches it."""
        return Context(self.address, self.ca_pem.decode(), Secret(self.token))

    def add_member(
        self, path: str, *, gpus: tuple[str, int, int] | None = None, **fields: Any
    ) -> member_pb2.Member:
        """A member that is online. gpus: product, total, used."""
        fields.setdefault("liveness", member_pb2.LIVENESS_ONLINE)
        fields.setdefault("kind", enrollment_pb2.CHILD_KIND_AGENT)
        member = member_pb2.Member(path=path, version="0.1.0", **fields)
        member.heard_ago.FromTimedelta(timedelta(seconds=3))
        if gpus is not None:
            product, total, used = gpus
            row = member_pb2.SketchRow(members=1, total=total, allocatable=total, used=used, free=total - used)
            gpu_class = member_pb2.GpuClass(vendor="nvidia", product=product, sharing="exclusive")
            member.sketches.append(member_pb2.Sketch(gpu_class=gpu_class, rows=[row]))
            member.status.CopyFrom(
                member_pb2.ClusterStatus(kubernetes_version="v1.36.0", nodes=4, nodes_ready=4, api_healthy=True)
            )
        with self.changed:
            self.members[path] = member
            self.changed.notify_all()
        return member

    def add_gpu(self, member: str, node: str = "n0", index: int = 0, **fields: Any) -> gpu_pb2.Gpu:
        """A device that is read. fields: see `make_gpu`."""
        gpu = make_gpu(member, node, index, **fields)
        with self.changed:
            self.gpus.append(gpu)
            self.changed.notify_all()
        return gpu

    def report(
        self, name: str, state: workload_pb2.WorkloadState.ValueType, message: str = "", path: str = ""
    ) -> None:
        """Members report `state` for the workload's present generation (one of them, or all)."""
        with self.changed:
            workload = self.workloads[name]
            for part in workload.assignments:
                if path in ("", part.path):
                    part.status.CopyFrom(
                        workload_pb2.AssignmentStatus(
                            uid=workload.uid, generation=workload.generation, state=state, message=message
                        )
                    )
                    part.status.objects.add(kind="Job", name="x", state=state, message=message)
            workload.state = state
            workload.message = message
            self.touch()

    def add_event(self, reason: str, subject: str = "hub", message: str = "") -> None:
        """An event that happens now."""
        with self.changed:
            event = event_pb2.Event(
                id=f"{len(self.events):08}",
                reason=reason,
                subject=subject,
                message=message,
                severity="SEVERITY_NORMAL",
            )
            event.time.GetCurrentTime()
            self.events.append(event)
            self.changed.notify_all()

    def wait_for_call(self, method: str) -> None:
        """Until a client has made this call."""
        with self.changed:
            assert self.changed.wait_for(lambda: method in self.calls, 10), f"nobody called {method}"

    def wait_for_watcher(self) -> None:
        """Until somebody watches events: what happens from now on is seen."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.watchers, 10), "nobody watches events"

    def touch(self) -> None:
        """Something about the workloads changed."""
        self.version += 1
        self.changed.notify_all()
