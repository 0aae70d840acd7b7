"""A hub's ports: which services are served where, opened in order and closed in order.

    session, join    children             client    the command line, the SDK             gateway    HTTP

For the composition root. Everything that is served is made here or handed over; nothing is decided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from arbora.rpc import options, server
from arbora.session import addresses
from arbora.v1 import (
    access_pb2,
    access_pb2_grpc,
    credential_pb2,
    credential_pb2_grpc,
    enrollment_pb2,
    enrollment_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
    gpu_pb2,
    gpu_pb2_grpc,
    member_pb2,
    member_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    tunnel_pb2,
    tunnel_pb2_grpc,
    workload_pb2,
    workload_pb2_grpc,
)
from arbora.version import __version__
from arbora_hub.api import travelling
from arbora_hub.api.access import AccessService
from arbora_hub.api.connect import ConnectService
from arbora_hub.api.credentials import CredentialService
from arbora_hub.api.events import EventService
from arbora_hub.api.gate import HubGate
from arbora_hub.api.gpus import GpuService
from arbora_hub.api.hub import HubService, JoinTokenService
from arbora_hub.api.members import MemberService
from arbora_hub.api.workloads import WorkloadService
from arbora_hub.enrollment.service import EnrollmentService, RenewalService
from arbora_hub.sessions.service import SessionService
from arbora_hub.settings import JOIN_PORT, SESSION_PORT
from arbora_hub.tunnels.service import TunnelService

if TYPE_CHECKING:
    from arbora_hub.app import Hub

log = structlog.get_logger(__name__)

CONTRACT: tuple[FileDescriptor, ...] = (
    access_pb2.DESCRIPTOR,
    credential_pb2.DESCRIPTOR,
    enrollment_pb2.DESCRIPTOR,
    event_pb2.DESCRIPTOR,
    gpu_pb2.DESCRIPTOR,
    member_pb2.DESCRIPTOR,
    session_pb2.DESCRIPTOR,
    tunnel_pb2.DESCRIPTOR,
    workload_pb2.DESCRIPTOR,
)


@asynccontextmanager
async def open_ports(hub: Hub) -> AsyncIterator[None]:
    """Open the three ports; at the end, drain the sessions and close them."""
    settings = hub.settings
    gate = HubGate(hub.accesses, hub.journal)
    session_server = server.build(options.SESSION_SERVER, gate)
    join_server = server.build(options.JOIN_SERVER, gate)
    client_server = server.build(options.CLIENT_SERVER, gate)

    session_port = server.listen(
        session_server, settings.bind(settings.session_address, SESSION_PORT), hub.authority.session_tls
    )
    join_bind = settings.bind(settings.join_address, JOIN_PORT)
    join_port = server.listen(join_server, join_bind, hub.authority.open_tls)
    client_port = server.listen(client_server, settings.client_address, hub.authority.open_tls)
    hub.session_address = addresses.join(settings.advertise, session_port)
    hub.join_address = addresses.join(settings.advertise or _dialable(join_bind), join_port)
    hub.client_address = addresses.join(_dialable(settings.client_address), client_port)

    session_pb2_grpc.add_SessionServiceServicer_to_server(SessionService(hub.sessions), session_server)
    enrollment_pb2_grpc.add_RenewalServiceServicer_to_server(
        RenewalService(hub.enrollment, hub.authority), session_server
    )
    enrollment_pb2_grpc.add_EnrollmentServiceServicer_to_server(
        EnrollmentService(hub.enrollment, hub.authority, hub.inventory, hub.session_address), join_server
    )
    tunnel_pb2_grpc.add_TunnelServiceServicer_to_server(TunnelService(hub.tunnels), session_server)
    health = _add_client_services(hub, client_server)
    await hub.first_admin.welcome(hub.client_address)
    servers = (session_server, join_server, client_server)
    for one in servers:
        await one.start()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    log.info(
        "hub up",
        version=__version__,
        client=hub.client_address,
        join=hub.join_address,
        session_port=session_port,
        trust_domain=hub.authority.trust_domain,
        members=len(hub.inventory),
        workloads=len(hub.workloads),
    )
    try:
        yield
    finally:
        await health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        await hub.sessions.drain(settings.drain_seconds)
        await asyncio.gather(*(one.stop(grace=0.5) for one in servers))


def _add_client_services(hub: Hub, client_server: grpc.aio.Server) -> Any:
    members = MemberService(hub.inventory, hub.sessions, hub.workloads, hub.calls)
    credentials = CredentialService(hub.minting)
    events = EventService(hub.store, hub.journal, hub.inventory, hub.calls)
    gpus = GpuService(hub.gpus, hub.inventory, hub.calls, hub.store, asyncio.get_running_loop().time, time.time)
    hub.call_server.serve(travelling.handlers(members, credentials, events, gpus))
    gpu_pb2_grpc.add_GpuServiceServicer_to_server(gpus, client_server)
    member_pb2_grpc.add_MemberServiceServicer_to_server(members, client_server)
    workload_pb2_grpc.add_WorkloadServiceServicer_to_server(
        WorkloadService(hub.workloads, hub.inventory), client_server
    )
    credential_pb2_grpc.add_CredentialServiceServicer_to_server(credentials, client_server)
    event_pb2_grpc.add_EventServiceServicer_to_server(events, client_server)
    access_pb2_grpc.add_AccessServiceServicer_to_server(AccessService(hub.accesses, hub.authority), client_server)
    tunnel_pb2_grpc.add_ConnectServiceServicer_to_server(
        ConnectService(hub.accesses, hub.authority, hub.inventory, hub.gateway), client_server
    )
    access_pb2_grpc.add_JoinTokenServiceServicer_to_server(
        JoinTokenService(hub.enrollment, hub.join_address), client_server
    )
    access_pb2_grpc.add_HubServiceServicer_to_server(
        HubService(
            hub.authority,
            hub.inventory,
            hub.workloads,
            hub.prices,
            hub.join_address,
            hub.uplink,
            hub.settings.export,
        ),
        client_server,
    )
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, client_server)
    reflection.enable_server_reflection(
        [*_services(), "grpc.health.v1.Health", reflection.SERVICE_NAME], client_server
    )
    return health


def _dialable(bind: str) -> str:
    """The host to dial for an address that is listened on."""
    host, _port = addresses.split(bind)
    return "127.0.0.1" if host in ("", "0.0.0.0") else "::1" if host == "::" else host


def _services() -> list[str]:
    return [service.full_name for file in CONTRACT for service in file.services_by_name.values()]


def methods() -> list[str]:
    """Every method of the contract, and grpc's own that are served."""
    ours = [
        f"/{service.full_name}/{method.name}"
        for file in CONTRACT
        for service in file.services_by_name.values()
        for method in service.methods
    ]
    return [
        *ours,
        *(f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch")),
        f"/{reflection.SERVICE_NAME}/ServerReflectionInfo",
    ]
