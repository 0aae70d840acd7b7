"""The composition root: builds every part of an agent, wires them, runs them until told to stop.

cluster -> identity (join at the first start) -> exchange (from the journal) -> link
down: assignments -> reconciler -> cluster        requests for tokens and grants -> credentials -> cluster
up:   capacity, workload status, answers, events, and GPUs as the agents of nodes report them
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from arbora.clock import Clock, LoopClock
from arbora.errors import ArboraError, InvalidInput
from arbora.identity import join_token
from arbora.identity.names import Kind, Path
from arbora.lock import lock_directory
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.session import enroll
from arbora.session.backoff import Backoff
from arbora.session.credential import Credential, CredentialFile, CredentialStore
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.session.state import LinkState, Phase
from arbora.v1 import credential_pb2, event_pb2, session_pb2
from arbora.version import __version__
from arbora.workloads.model import AssignmentStatus
from arbora.workloads.wire import status_to_wire
from arbora_agent.allow import TokenPolicy
from arbora_agent.allow_grants import GrantPolicy
from arbora_agent.cluster.port import Cluster, ClusterFacts
from arbora_agent.credentials import Credentials
from arbora_agent.desired import Desired
from arbora_agent.grants.granter import Granter
from arbora_agent.journal import Journal
from arbora_agent.minting import TokenMinter
from arbora_agent.observe import CapacityReport
from arbora_agent.settings import AgentSettings
from arbora_agent.tunnels import tunnels
from arbora_agent.workloads.reconciler import Reconciler, Severity

if TYPE_CHECKING:
    from arbora.metrics import MetricsServer
    from arbora_agent.metrics import AgentMetrics
    from arbora_agent.nodes.parts import NodeAgents
    from arbora_agent.nodes.told import Event

log = structlog.get_logger(__name__)

EVENT_SLOTS = 500
"""Events that wait for the hub at most."""
SEVERITIES = {"normal": event_pb2.SEVERITY_NORMAL, "warning": event_pb2.SEVERITY_WARNING}


@dataclass
class AgentHooks:
    """What whoever runs an agent may want to hear."""

    state: Callable[[LinkState], None] = field(default=lambda state: None)
    running: Callable[[Agent], None] = field(default=lambda agent: None)


async def run(settings: AgentSettings, stop: asyncio.Event, hooks: AgentHooks | None = None) -> None:
    """Run an agent until `stop` is set. Raises ArboraError if it can't start, Refused if it is sent away."""
    with lock_directory(settings.data_dir):
        cluster, store = open_cluster(settings, LoopClock())
        try:
            await Agent(settings, cluster, store, LoopClock(), hooks or AgentHooks()).run(stop)
        finally:
            await cluster.close()


def open_cluster(settings: AgentSettings, clock: Clock) -> tuple[Cluster, CredentialStore]:
    """The cluster that the settings name, and where the identity is kept. Raises InvalidInput."""
    if settings.simulate:
        from arbora_agent.cluster.simulated import SimulatedCluster, Simulation

        simulation = Simulation(settings.simulate, name=settings.name or str(settings.data_dir), clock=clock)
        return SimulatedCluster(simulation), CredentialFile(settings.data_dir)
    from arbora_agent.cluster.kubernetes import KubernetesCluster, from_kubeconfig, in_cluster

    outside = settings.kubeconfig or settings.context
    access = from_kubeconfig(settings.kubeconfig or None, settings.context or None) if outside else in_cluster()
    if settings.identity_secret:
        from arbora_agent.identity_secret import IdentitySecret

        return KubernetesCluster(access), IdentitySecret(access)
    return KubernetesCluster(access), CredentialFile(settings.data_dir)


class Agent:
    """One agent on one cluster."""

    def __init__(
        self,
        settings: AgentSettings,
        cluster: Cluster,
        store: CredentialStore,
        clock: Clock,
        hooks: AgentHooks,
    ) -> None:
        self.settings = settings
        self.cluster = cluster
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._tokens = TokenPolicy.parse(settings.allow_tokens, settings.max_token_seconds)
        self._grants = GrantPolicy.parse(
            settings.allow_roles, settings.allow_cluster_roles, settings.allow_rules_of
        )
        self._chance = random.Random(secrets.randbits(64))
        self._events = 0
        self._path = Path()
        self.link: Link | None = None
        self.nodes: NodeAgents | None = None
        self.online = False
        """Whether there is a session with the hub now."""
        self.metrics: MetricsServer | None = None
        self._shown = self._measured()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises Refused when only an operator can help, Conflict for a taken port."""
        async with self.metrics or nullcontext():
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        facts = await self._connect(stop)
        if facts is None:
            return
        credential = await self._identity(facts, stop)
        if credential is None:
            return
        self._path = Path.parse(credential.path)
        journal = Journal(self.settings.data_dir)
        exchange = Exchange(secrets.randbits(62) + 1, inboxes=await journal.load())
        routed: list[Desired] = []
        link = Link(
            credential,
            self._store,
            exchange,
            Introduction(Kind.AGENT, instance_id=secrets.token_hex(8), cluster_uid=facts.uid),
            LinkEvents(
                applied=lambda applied: _route(routed, applied),
                state=self._link_changed,
                welcome=self._welcomed,
            ),
            self._chance,
        )
        self.link = link
        reconciler = Reconciler(
            self.cluster,
            report=lambda status: self._report(journal, status),
            forget=lambda uid: self._forget(journal, uid),
            event=self._event,
            clock=self._clock,
            chance=self._chance.random,
        )
        minter = TokenMinter(self.cluster, self._tokens, lambda: self._path)
        granter = Granter(lambda: self.cluster.rights, self._grants)
        credentials = Credentials(self.cluster, minter, granter, self._answer)
        ways = tunnels(link, lambda: self.cluster.facts().api_address, self.settings.tunnels)
        desired = Desired(exchange, journal, reconciler, credentials, ways)
        routed.append(desired)
        self.nodes = nodes = self._node_agents(link, reconciler)
        said = nodes.devices.nodes if nodes is not None else dict
        capacity = CapacityReport(
            self.cluster,
            link,
            self.settings.coalesce_seconds,
            said,
            self.settings.tunnels,
            lambda reason, message: self._event("warning", reason, "cluster", message),
        )
        self.cluster.subscribe(on_capacity=capacity.changed, on_object=lambda ref, uid: None)
        if nodes is not None:
            nodes.start(capacity.changed)
        desired.restored()
        parts = (
            *(nodes.parts() if nodes is not None else ()),
            self.cluster.run(),
            link.run(),
            reconciler.run(),
            credentials.run(),
            ways.run(),
            capacity.run(),
            journal.run(exchange),
            desired.follow_settings(link),
            *((self._shown.run(capacity, reconciler, nodes),) if self._shown is not None else ()),
        )
        await _until(stop, parts, lambda: self._hooks.running(self))
        await journal.save(exchange)

    def _node_agents(self, link: Link, reconciler: Reconciler) -> NodeAgents | None:
        """What serves the agents of nodes, where there are any; it costs memory, so it is loaded only then."""
        if not self.settings.node_address:
            return None
        from arbora_agent.nodes.parts import NodeAgents

        def tell(event: Event) -> None:
            self._event(event.severity, event.reason, event.subject, event.message)

        return NodeAgents(self.settings, self.cluster, self._store, link, reconciler, tell, self._clock)

    def _measured(self) -> AgentMetrics | None:
        """What is shown to Prometheus, from the first moment on, if that is wanted; it, too, costs memory."""
        if not self.settings.metrics_address:
            return None
        from arbora.metrics import MetricsServer
        from arbora_agent.metrics import AgentMetrics

        shown = AgentMetrics(lambda: self.online)
        self.metrics = MetricsServer(self.settings.metrics_address, shown)
        return shown

    async def _connect(self, stop: asyncio.Event) -> ClusterFacts | None:
        """Reach the cluster; as long as it takes, but not against a wrong configuration."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                return await self.cluster.connect()
            except ArboraError as error:
                if not error.retryable:
                    raise
                delay = backoff.next(self._chance.random())
                log.warning("cluster not reached", error=str(error), retry_in=round(delay, 1))
                await _wait(stop, delay)
        return None

    async def _identity(self, facts: ClusterFacts, stop: asyncio.Event) -> Credential | None:
        """The kept identity, or a new one by joining; as long as it takes, but not against a refusal."""
        kept = await self._store.load()
        settings = self.settings
        if kept is not None and not settings.join_token:
            return kept
        if not settings.join_token or not settings.hub:
            raise InvalidInput(
                "this agent has no identity yet and no join token or hub to get one",
                hint="Start it with --hub HOST:PORT --join-token TOKEN; `arbora join-token create` makes one.",
            )
        token = join_token.parse(settings.join_token.reveal())
        if kept is not None and kept.joined_with == token.id:
            return kept
        backoff = Backoff()
        while not stop.is_set():
            try:
                credential = await enroll.enroll(
                    settings.hub,
                    token,
                    self._store,
                    kind=Kind.AGENT,
                    name=settings.name,
                    cluster_uid=facts.uid,
                    version=__version__,
                )
            except ArboraError as error:
                if not error.retryable:
                    raise
                delay = error.retry_after or backoff.next(self._chance.random())
                log.warning("not joined yet", hub=settings.hub, error=str(error), retry_in=round(delay, 1))
                await _wait(stop, delay)
                continue
            log.info("joined", path=credential.path, hub=settings.hub)
            return credential
        return None

    def _welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._path = Path.parse(welcome.path)

    def _link_changed(self, state: LinkState) -> None:
        self.online = state.phase is Phase.ONLINE
        if state.path:
            # A hub above has moved, and this member's path with it.
            self._path = Path.parse(state.path)
        self._hooks.state(state)

    def _report(self, journal: Journal, status: AssignmentStatus) -> None:
        assert self.link is not None
        data = status_to_wire(status).SerializeToString(deterministic=True)
        self.link.put(f"workload/{status.uid}", data)
        journal.reported(status.uid, data)

    def _forget(self, journal: Journal, uid: str) -> None:
        assert self.link is not None
        self.link.delete(f"workload/{uid}")
        journal.reported(uid, None)

    def _answer(self, answer: credential_pb2.TokenAnswer | credential_pb2.GrantAnswer) -> None:
        assert self.link is not None
        kind = "token" if isinstance(answer, credential_pb2.TokenAnswer) else "grant"
        self.link.put(f"{kind}/{answer.id}", answer.SerializeToString(), volatile=True)

    def _event(self, severity: Severity, reason: str, subject: str, message: str) -> None:
        assert self.link is not None
        event = event_pb2.Event(
            severity=SEVERITIES[severity], reason=reason, subject=subject, message=message[:1000]
        )
        # Slots that are used again: while the hub is away, only the newest events wait for it.
        self._events = (self._events + 1) % EVENT_SLOTS
        self.link.put(f"event/{self._events}", event.SerializeToString(), volatile=True)


def _route(routed: list[Desired], applied: Applied) -> None:
    for desired in routed:
        desired.applied(applied)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def _until(stop: asyncio.Event, parts: tuple[object, ...], started: Callable[[], None]) -> None:
    """Run all parts until `stop` is set or one of them fails; then end all of them, and raise what failed."""
    tasks = [asyncio.ensure_future(part) for part in parts]  # type: ignore[call-overload]
    stopping = asyncio.create_task(stop.wait())
    try:
        started()
        done, _ = await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
