"""The composition root: builds every part of a hub, wires them, runs them, and takes them down in order.

    store -> journal -> authority -> inventory -> sessions -> workloads, credentials -> API -> three ports

Reads like a table of contents; whatever decides or does something stands elsewhere.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from arbora.lock import lock_directory
from arbora.rpc import options, policy, server
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
    workload_pb2,
    workload_pb2_grpc,
)
from arbora.version import __version__
from arbora_hub.api import travelling
from arbora_hub.api.access import AccessList, AccessService
from arbora_hub.api.credentials import CredentialService
from arbora_hub.api.events import EventService
from arbora_hub.api.first_admin import FirstAdmin
from arbora_hub.api.gate import HubGate
from arbora_hub.api.gpus import GpuService
from arbora_hub.api.hub import HubService, JoinTokenService
from arbora_hub.api.members import MemberService
from arbora_hub.api.workloads import WorkloadService
from arbora_hub.credentials.requests import TokenRequests
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.enrollment.enrollment import Enrollment
from arbora_hub.enrollment.service import EnrollmentService, RenewalService
from arbora_hub.gateway.gateway import Gateway
from arbora_hub.gpus.members import GPU, ROLLUP, VALUES, MemberGpus
from arbora_hub.gpus.minutes import GpuMinutes
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import WARNING, Journal
from arbora_hub.sessions.registry import Sessions
from arbora_hub.sessions.service import SessionService
from arbora_hub.sessions.tell import EventListener, SettingsTeller
from arbora_hub.settings import JOIN_PORT, SESSION_PORT, HubSettings
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.serving import CallServer
from arbora_hub.tree.uplink import Uplink
from arbora_hub.tree.upward import Upward
from arbora_hub.workloads.assigned import Assigned
from arbora_hub.workloads.controller import Workloads
from arbora_hub.workloads.prices import Prices

log = structlog.get_logger(__name__)

DATABASE = "hub.db"
GC_THRESHOLDS = (50_000, 20, 20)
CONTRACT: tuple[FileDescriptor, ...] = (
    access_pb2.DESCRIPTOR,
    credential_pb2.DESCRIPTOR,
    enrollment_pb2.DESCRIPTOR,
    event_pb2.DESCRIPTOR,
    gpu_pb2.DESCRIPTOR,
    member_pb2.DESCRIPTOR,
    session_pb2.DESCRIPTOR,
    workload_pb2.DESCRIPTOR,
)


@dataclass
class Hub:
    """A hub's parts, for whoever runs or tests it."""

    settings: HubSettings
    store: Store
    journal: Journal
    authority: HubAuthority
    inventory: Inventory
    uplink: Uplink
    sessions: Sessions
    workloads: Workloads
    assigned: Assigned
    upward: Upward
    enrollment: Enrollment
    accesses: AccessList
    first_admin: FirstAdmin
    prices: Prices
    calls: Calls
    call_server: CallServer
    gpus: MemberGpus
    gpu_minutes: GpuMinutes
    gateway: Gateway
    client_address: str = ""
    """host:port to dial; so are the next two."""
    join_address: str = ""
    session_address: str = ""


async def serve(settings: HubSettings, stop: asyncio.Event, started: Callable[[Hub], None]) -> None:
    """Run a hub until `stop` is set. Raises ArboraError if it can't start."""
    async with open_hub(settings) as hub:
        # What a start leaves stays, and a call makes thousands of objects but hardly a cycle: looking for cycles
        # as often as Python does by default is an eighth of a busy hub's time.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        started(hub)
        await stop.wait()
        log.info("stopping", sessions=len(hub.sessions))


@asynccontextmanager
async def open_hub(settings: HubSettings) -> AsyncIterator[Hub]:
    """A hub that serves while the block lasts; then it drains, saves and closes."""
    policy.check_complete(_methods())
    with lock_directory(settings.data_dir):
        async with _running(settings) as hub:
            yield hub


@asynccontextmanager
async def _running(settings: HubSettings) -> AsyncIterator[Hub]:
    store = await open_store(settings.data_dir / DATABASE)
    try:
        hub = await _build(settings, store)
        async with hub.gateway, _parts(hub), _ports(hub):
            yield hub
        await hub.inventory.save()
        await hub.workloads.save()
        await hub.journal.flush()
    finally:
        await store.close()


@asynccontextmanager
async def _parts(hub: Hub) -> AsyncIterator[None]:
    """Run what runs by itself while the block lasts. A part that fails ends the block."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(part.run(), name=type(part).__name__)
                for part in (
                    hub.journal,
                    hub.authority,
                    hub.inventory,
                    hub.call_server,
                    hub.uplink,
                    hub.sessions,
                    hub.workloads,
                    hub.assigned,
                    hub.upward,
                    hub.gpu_minutes,
                    hub.gateway,
                    hub.first_admin,
                    hub.prices,
                )
            ]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        # Such as a port that is taken: whoever started the hub is told that, not that a group failed.
        raise group.exceptions[0] from group.exceptions[0].__cause__


async def _build(settings: HubSettings, store: Store) -> Hub:
    journal = Journal(store, settings.event_limit)
    authority = HubAuthority(store, settings, journal)
    await authority.load()
    accesses = AccessList(store)
    await accesses.load()
    inventory = Inventory(
        store, journal, Terms(settings.heartbeat_interval, settings.lease_duration, settings.startup_grace)
    )
    await inventory.load()
    uplink = Uplink(settings, inventory, journal, authority.hub_id)
    await uplink.load()
    inventory.inherit(uplink.inherited_labels)
    above = lambda: uplink.ancestors  # noqa: E731
    sessions = Sessions(settings, inventory, authority, journal, secrets.token_hex(8), above)
    prices = Prices(settings.prices, journal, time.time)
    await prices.fetch()
    workloads = Workloads(store, inventory, sessions, journal, time.time, prices.of)
    prices.on_change(workloads.place_all)
    await workloads.load()
    teller = SettingsTeller(inventory, sessions, authority, above, lambda: uplink.inherited_labels)
    teller.tell_all()
    uplink.on_place(teller.tell_all)
    uplink.on_labels(teller.tell_all)
    uplink.on_labels(lambda: inventory.inherit(uplink.inherited_labels))
    authority.on_change(teller.tell_all)
    authority.on_change(sessions.end_untrusted)
    inventory.on_change(teller.tell)
    inventory.on_change(workloads.child_changed)
    for kind in ("status", "sketch"):
        sessions.observe(kind, inventory.observed)
    inventory.on_capacity(workloads.capacity_changed)
    sessions.observe("workload", workloads.observed)
    sessions.observe("event", EventListener(journal).observed)
    upward = Upward(
        inventory,
        uplink,
        hub_id=authority.hub_id,
        placement_epoch=lambda: uplink.placement_epoch,
        lines=settings.export == "lines",
        clock=asyncio.get_running_loop().time,
        wall=time.time,
        coalesce_seconds=settings.coalesce_seconds,
        fenced=lambda place: journal.event(WARNING, "StandsTwice", f"member/{place.path}", place.sentence),
    )
    sessions.observe("member", inventory.observed)
    assigned = Assigned(workloads, inventory, uplink, time.time)
    uplink.observe("assignment", assigned.observed)
    uplink.observe("reservation", assigned.reserving)
    uplink.on_parent(assigned.report_all)
    uplink.on_leave = assigned.leave
    calls = Calls(sessions, inventory)
    sessions.observe("answer", calls.observed)
    call_server = CallServer(uplink, HubGate(accesses, journal), lambda: inventory.own_path)
    gpus = MemberGpus(inventory, journal, asyncio.get_running_loop().time)
    for kind in (GPU, VALUES, ROLLUP):
        sessions.observe(kind, gpus.observed)
    gpu_minutes = GpuMinutes(gpus, inventory, store, uplink, asyncio.get_running_loop().time, time.time)
    enrollment = Enrollment(store, authority, inventory, above)
    first_admin = FirstAdmin(settings.data_dir, accesses, authority)
    return Hub(
        settings,
        store,
        journal,
        authority,
        inventory,
        uplink,
        sessions,
        workloads,
        assigned,
        upward,
        enrollment,
        accesses,
        first_admin,
        prices,
        calls,
        call_server,
        gpus,
        gpu_minutes,
        Gateway(settings.metrics_address, inventory, sessions, workloads, gpus, uplink),
    )


@asynccontextmanager
async def _ports(hub: Hub) -> AsyncIterator[None]:
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
    requests = TokenRequests(hub.sessions)
    hub.sessions.observe("token", requests.observed)
    members = MemberService(hub.inventory, hub.sessions, hub.workloads, hub.calls)
    credentials = CredentialService(hub.inventory, requests, hub.calls)
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


def _methods() -> list[str]:
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
