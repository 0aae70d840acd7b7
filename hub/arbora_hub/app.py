"""The composition root: builds every part of a hub, wires them, runs them, and takes them down in order.

    store -> journal -> authority -> inventory -> sessions -> workloads, credentials -> API -> three ports

Reads like a table of contents; whatever decides or does something stands elsewhere.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from arbora.lock import lock_directory
from arbora.rpc import policy
from arbora.tunnel.dialing import TunnelDialer
from arbora_hub.api.access import AccessList
from arbora_hub.api.first_admin import FirstAdmin
from arbora_hub.api.gate import HubGate
from arbora_hub.credentials.minting import Minting
from arbora_hub.credentials.requests import grant_requests, token_requests
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.enrollment.enrollment import Enrollment
from arbora_hub.gateway.gateway import Gateway
from arbora_hub.gpus.members import GPU, ROLLUP, VALUES, MemberGpus
from arbora_hub.gpus.minutes import GpuMinutes
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Terms
from arbora_hub.journal import WARNING, Journal
from arbora_hub.kubernetes.face import Face, Part
from arbora_hub.ports import methods, open_ports
from arbora_hub.sessions.registry import Sessions
from arbora_hub.sessions.tell import EventListener, SettingsTeller
from arbora_hub.settings import HubSettings
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import Store
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.serving import CallServer
from arbora_hub.tree.statuses import Statuses
from arbora_hub.tree.uplink import Uplink
from arbora_hub.tree.upward import Upward
from arbora_hub.tunnels.opening import Tunnels
from arbora_hub.tunnels.relaying import relay
from arbora_hub.workloads.assigned import Assigned
from arbora_hub.workloads.controller import Workloads
from arbora_hub.workloads.prices import Prices

if TYPE_CHECKING:
    from arbora.kubernetes.api import ApiServer

log = structlog.get_logger(__name__)

DATABASE = "hub.db"
GC_THRESHOLDS = (50_000, 20, 20)


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
    tunnels: Tunnels
    tunnel_relay: TunnelDialer
    statuses: Statuses
    minting: Minting
    face: Face
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
    policy.check_complete(methods())
    with lock_directory(settings.data_dir):
        async with _running(settings) as hub:
            yield hub


@asynccontextmanager
async def _running(settings: HubSettings) -> AsyncIterator[Hub]:
    store = await open_store(settings.data_dir / DATABASE)
    try:
        hub = await _build(settings, store)
        async with hub.gateway, _parts(hub), open_ports(hub):
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
                    hub.tunnel_relay,
                    hub.first_admin,
                    hub.prices,
                    hub.face,
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


def _face_parts(api: ApiServer, hub: Hub) -> Sequence[Part]:
    """What runs where there is an API server; what speaks to it is loaded only then."""
    from arbora_hub.kubernetes import features

    return features.parts(api, hub)


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
    tunnels = Tunnels(sessions, inventory)
    inventory.on_change(tunnels.child_changed)
    statuses = Statuses(inventory, calls)
    gateway = Gateway(
        settings,
        inventory,
        sessions,
        workloads,
        gpus,
        uplink,
        accesses,
        tunnels,
        journal,
        authority,
        statuses.ca_of,
    )
    minting = Minting(inventory, token_requests(sessions), grant_requests(sessions), calls)
    face = Face(settings, journal, lambda api: _face_parts(api, hub))
    hub = Hub(
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
        gateway,
        tunnels,
        relay(uplink, tunnels, inventory),
        statuses,
        minting,
        face,
    )
    return hub
