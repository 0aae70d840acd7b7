"""Every feature of the hub's face, given its API server: made here, run by `face.py`.

    members   ->  fleets/, profiles/  ->  tokens/, multikueue/

For the composition root. Decides nothing; a feature that is added gets what it needs of those before it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from arbora.clock import Clock, LoopClock
from arbora.errors import InvalidInput
from arbora.kubernetes.api import ApiServer
from arbora.session import addresses
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.face import Part
from arbora_hub.kubernetes.fleets.controller import FleetStatus
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST, CLUSTER_PROFILE, FLEET, NAMESPACE
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.multikueue.controller import Mirrors
from arbora_hub.kubernetes.multikueue.feature import MultiKueue, mirrors
from arbora_hub.kubernetes.multikueue.here import Findings, FleetViews, Retained
from arbora_hub.kubernetes.multikueue.kinds import MULTIKUEUE_CLUSTER
from arbora_hub.kubernetes.multikueue.worker_workloads import WorkerWorkloads
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.kubernetes.profiles.clustersets import ClusterSets
from arbora_hub.kubernetes.profiles.content import Surroundings
from arbora_hub.kubernetes.profiles.kept import KeptNames
from arbora_hub.kubernetes.profiles.profiles import Profiles
from arbora_hub.kubernetes.profiles.publisher import Publisher, field_manager
from arbora_hub.kubernetes.tokens.controller import AuthTokenRequests
from arbora_hub.kubernetes.tokens.issuing import Issuing
from arbora_hub.kubernetes.tokens.kept import KeptGrants
from arbora_hub.kubernetes.tokens.targets import ProfileTargets

if TYPE_CHECKING:
    from arbora_hub.app import Hub

_MANAGER = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def parts(api: ApiServer, hub: Hub) -> Sequence[Part]:
    """What runs while there is a face. Raises InvalidInput for a manager's name that can't be a label's value."""
    manager = hub.settings.manager_name
    if not _MANAGER.fullmatch(manager):
        raise InvalidInput(
            f"{manager!r} can't be the value of a label, so it can't name who manages ClusterProfiles",
            field="--manager",
            hint="Use up to 63 letters, digits and inner dashes, such as arbora-eu.",
        )
    clock = LoopClock()
    objects = Objects(api)
    fleets, live, namespaces = (
        Collection(api, FLEET),
        Collection(api, CLUSTER_PROFILE),
        Collection(api, NAMESPACE),
    )
    members = Members(hub.inventory, hub.calls, clock=clock, wall=time.time, grace=hub.settings.startup_grace)
    hub.uplink.on_place(members.stand_elsewhere)
    hub.uplink.on_labels(members.stand_elsewhere)
    profiles = Profiles(manager, fleets, live, namespaces, members)
    publisher = Publisher(
        objects,
        profiles,
        (fleets, live, namespaces),
        lambda: surroundings(hub),
        KeptNames(hub.store),
        clock=clock,
        wall=time.time,
        gap=hub.settings.profile_seconds,
    )
    hub.authority.on_change(publisher.look_at_all)
    owner = field_manager(manager)
    requests = Collection(api, AUTH_TOKEN_REQUEST)
    issuing = Issuing(hub.inventory, hub.statuses, hub.minting, hub.accesses, hub.gateway, hub.authority)
    mirrored = mirrors(api)
    kueue = multikueue(api, mirrored, hub, fleets, profiles, members, owner, clock)
    retained = Retained(mirrored[MULTIKUEUE_CLUSTER], lambda: kueue.served)
    targets = ProfileTargets(profiles, members, retained.path)
    return (
        kueue,
        requests,
        AuthTokenRequests(
            requests, objects, targets, issuing, KeptGrants(hub.store), hub.journal, manager, clock, time.time
        ),
        fleets,
        live,
        namespaces,
        members,
        publisher,
        ClusterSets(objects, profiles, namespaces, owner, clock),
        FleetStatus(objects, fleets, profiles, owner, clock=clock, wall=time.time),
    )


def multikueue(
    api: ApiServer,
    mirrored: Mirrors,
    hub: Hub,
    fleets: Collection,
    profiles: Profiles,
    members: Members,
    owner: str,
    clock: Clock,
) -> MultiKueue:
    """Kueue's multi-cluster dispatch, where Kueue is installed."""
    objects = Objects(api)
    views = FleetViews(fleets, profiles, members, mirrored[MULTIKUEUE_CLUSTER], hub.inventory, hub.prices.of)
    findings = Findings(objects, fleets, owner, time.time)
    workers = WorkerWorkloads(hub.workloads)
    return MultiKueue(api, views, workers, findings.say, clock, time.time, mirrored)


def surroundings(hub: Hub) -> Surroundings | None:
    """What all profiles of a hub say of it; None while its ports are not open."""
    if not hub.client_address:
        return None
    host, port = addresses.split(hub.client_address)
    return Surroundings(
        manager=hub.settings.manager_name,
        hub=addresses.join(hub.settings.advertise or host, port),
        gateway=hub.gateway.address,
        authorities=hub.authority.bundle().to_pem(),
    )
