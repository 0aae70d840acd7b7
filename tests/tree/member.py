"""A member without a cluster: it takes assignments, lets their pods run on its GPUs, and says what it has.

Honest in what matters to the hubs above it: first come, first served; a pod needs all its GPUs on one node; what
is withdrawn is deleted first and called gone then; what is not named any more is left alone. Its link is the
agent's own. It keeps what it was told over restarts, as the agent's journal does.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass, field
from typing import Any

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.manifests.objects import ref_of
from arbora.mirror.exchange import Exchange
from arbora.mirror.inbox import Applied
from arbora.mirror.records import Lane
from arbora.session import enroll
from arbora.session.credential import Credential
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.session.state import LinkState, Phase
from arbora.v1 import member_pb2
from arbora.v1 import workload_pb2 as pb
from arbora.version import __version__
from arbora.workloads.model import Assignment, AssignmentStatus, ObjectStatus, State
from arbora.workloads.wire import assignment_from_wire, status_to_wire

H100 = GpuClass("nvidia", "NVIDIA-H100-80GB-HBM3")
STEP_SECONDS = 0.3
"""Between what it is told and what happens, at most; deleting takes ten times as long."""
REPORT_SECONDS = 0.2


class Kept:
    """A `CredentialStore` in memory."""

    def __init__(self) -> None:
        self._credential: Credential | None = None
        self._pending: bytes | None = None

    async def load(self) -> Credential | None:
        return self._credential

    async def save(self, credential: Credential) -> None:
        self._credential = credential

    async def pending_key(self) -> bytes | None:
        return self._pending

    async def save_pending_key(self, key_pem: bytes) -> None:
        self._pending = key_pem


@dataclass
class Work:
    """One workload here. A pod is the node that it runs on, None while it waits."""

    assignment: Assignment
    gpus: int = 0
    pods: list[int | None] = field(default_factory=list)
    made: Assignment | None = None
    """The assignment that the pods are of."""
    deleted: bool = False
    deleting: bool = False

    @property
    def running(self) -> int:
        return sum(pod is not None for pod in self.pods)


class Member:
    """One of them."""

    def __init__(self, name: str, nodes: list[int], chance: random.Random) -> None:
        """nodes: GPUs of each."""
        self.name = name
        self.uid = f"uid-of-{name}-{chance.getrandbits(32):08x}"
        self.nodes = list(nodes)
        self.off: set[int] = set()
        """Nodes that are not ready: pods there stay, and no new one comes."""
        self.works: dict[str, Work] = {}
        self.exchange = Exchange(secrets.randbits(62) + 1)
        self.online = False
        self._chance = chance
        self._store = Kept()
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._dirty = asyncio.Event()
        self._keys: set[str] = set()

    async def join(self, address: str, token: str) -> None:
        """Enroll at a hub."""
        await enroll.enroll(
            address,
            join_token.parse(token),
            self._store,
            kind=Kind.AGENT,
            name=self.name,
            cluster_uid=self.uid,
            version=__version__,
        )

    async def start(self) -> None:
        """Begin, or begin again with what was kept."""
        credential = await self._store.load()
        assert credential is not None
        self.exchange.cut()
        self.exchange = Exchange(
            secrets.randbits(62) + 1, inboxes={lane: self.exchange.inbox(lane) for lane in Lane}
        )
        self._keys.clear()
        self._link = Link(
            credential,
            self._store,
            self.exchange,
            Introduction(Kind.AGENT, secrets.token_hex(8), self.uid),
            LinkEvents(applied=self._applied, state=self._said),
            self._chance,
        )
        for uid in self.works:
            self._report(uid)
        self._task = asyncio.create_task(self._run(self._link), name=f"member {self.name}")

    async def stop(self) -> None:
        """End at once."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while self._timers:
            self._timers.pop().cancel()
        self.online = False

    async def _run(self, link: Link) -> None:
        async with asyncio.TaskGroup() as tasks:
            for uid, work in self.works.items():
                if not work.assignment.withdrawn:
                    self._later(STEP_SECONDS, self._run_pods, work.assignment)
                elif not work.deleted:
                    work.deleting = False
                    self._withdraw(uid)
            tasks.create_task(link.run(), name=f"link {self.name}")
            while True:
                self._dirty.clear()
                self._say_capacity()
                await self._dirty.wait()
                await asyncio.sleep(REPORT_SECONDS)

    # what there is

    @property
    def total(self) -> int:
        """GPUs."""
        return sum(self.nodes)

    def free(self, node: int) -> int:
        """Of one node, for new pods."""
        return 0 if node in self.off else self.nodes[node] - self._used(node)

    def free_gpus(self) -> int:
        """Of all nodes."""
        return sum(map(self.free, range(len(self.nodes))))

    def room(self, gpus: int) -> int:
        """Pods of so many GPUs that still fit."""
        return sum(self.free(node) // gpus for node in range(len(self.nodes)))

    def _used(self, node: int) -> int:
        return sum(work.gpus * work.pods.count(node) for work in self.works.values())

    def check(self) -> None:
        """It never runs more than it has."""
        for node, gpus in enumerate(self.nodes):
            assert self._used(node) <= gpus, f"{self.name} runs too much on node {node}"

    def turn(self, node: int, *, on: bool) -> None:
        """A node becomes ready, or is no longer."""
        (self.off.discard if on else self.off.add)(node)
        self._schedule()

    def grow(self, gpus: int) -> None:
        """One more node."""
        self.nodes.append(gpus)
        self._schedule()

    # what it is told

    def _said(self, state: LinkState) -> None:
        self.online = state.phase is Phase.ONLINE

    def _applied(self, applied: Applied) -> None:
        for key in applied.changed:
            value = self.exchange.received_value(key)
            if key.startswith("assignment/") and value is not None:
                self._told(assignment_from_wire(pb.Assignment.FromString(value)))
        for key in applied.removed:
            uid = key.partition("/")[2]
            if key.startswith("assignment/") and uid in self.works:
                assert self._link is not None
                self._link.delete(f"workload/{uid}")
                if self.works[uid].deleted:
                    del self.works[uid]

    def _told(self, assignment: Assignment) -> None:
        before = self.works.get(assignment.uid)
        if before is not None and assignment.generation < before.assignment.generation:
            return
        if before is None or before.deleted:
            self.works[assignment.uid] = before = Work(assignment)
        before.assignment = assignment
        if assignment.withdrawn:
            self._withdraw(assignment.uid)
        else:
            before.deleting = False
            self._later(STEP_SECONDS, self._run_pods, assignment)
        self._report(assignment.uid)

    def _later(self, seconds: float, then: Any, *args: Any) -> None:
        def now() -> None:
            self._timers.remove(timer)
            then(*args)

        delay = self._chance.uniform(0.0, seconds)
        timer = asyncio.get_running_loop().call_later(delay, now)
        self._timers.append(timer)

    def _run_pods(self, assignment: Assignment) -> None:
        work = self.works.get(assignment.uid)
        if work is None or work.assignment is not assignment:
            return
        count, gpus = wanted_of(assignment)
        if gpus != work.gpus:
            work.pods, work.gpus = [], gpus
        del work.pods[count:]
        work.pods += [None] * (count - len(work.pods))
        work.made = assignment
        self._schedule()
        self._report(assignment.uid)

    def _withdraw(self, uid: str) -> None:
        work = self.works[uid]
        if not work.deleting and not work.deleted:
            work.deleting = True
            self._later(10 * STEP_SECONDS, self._delete, uid, work)

    def _delete(self, uid: str, work: Work) -> None:
        if self.works.get(uid) is not work or not work.deleting:
            return
        work.pods, work.deleted, work.deleting = [], True, False
        self._schedule()
        self._report(uid)

    def _schedule(self) -> None:
        """First come, first served; a pod that does not fit does not hold up smaller ones."""
        for uid, work in self.works.items():
            before = work.running
            for index, pod in enumerate(work.pods):
                if pod is None:
                    fitting = (n for n in range(len(self.nodes)) if self.free(n) >= work.gpus)
                    work.pods[index] = next(fitting, None)
            if work.running != before:
                self._report(uid)
        self._dirty.set()

    # what it says

    def _report(self, uid: str) -> None:
        work = self.works[uid]
        one = work.assignment
        if one.withdrawn:
            state = State.DELETED if work.deleted else State.DELETING
        elif work.made is not one:
            state = State.APPLIED
        else:
            state = State.AVAILABLE if work.running == len(work.pods) else State.PROGRESSING
        objects = tuple(ObjectStatus(ref_of(manifest), state) for manifest in one.manifests)
        message = status_to_wire(AssignmentStatus(uid, one.generation, state, objects, share=one.share))
        self._put(f"workload/{uid}", message.SerializeToString(deterministic=True))

    def status(self) -> member_pb2.ClusterStatus:
        """Its slow facts, which are no other member's."""
        return member_pb2.ClusterStatus(
            kubernetes_version=f"v1.36.0+{self.name}", cluster_uid=self.uid, api_healthy=True
        )

    def _say_capacity(self) -> None:
        self._put("status", self.status().SerializeToString(deterministic=True))
        nodes = [
            NodeGpus(f"n{n}", H100, gpus, gpus, self._used(n), n not in self.off, 10**6, 10**7)
            for n, gpus in enumerate(self.nodes)
        ]
        waiting = sum(w.gpus * (len(w.pods) - w.running) for w in self.works.values())
        for gpu_class, row in sketch(nodes, {"nvidia.com/gpu": waiting}).items():
            data = sketch_to_wire(gpu_class, row).SerializeToString(deterministic=True)
            self._put(f"sketch/{gpu_class.key}", data)

    def _put(self, key: str, value: bytes) -> None:
        assert self._link is not None
        self._link.put(key, value)


def wanted_of(assignment: Assignment) -> tuple[int, int]:
    """(pods, GPUs of each) that an assignment asks for: of one Deployment or Job."""
    (manifest,) = assignment.manifests
    spec: Any = manifest["spec"]
    count = spec["replicas"] if manifest["kind"] == "Deployment" else spec.get("parallelism", 1)
    (container,) = spec["template"]["spec"]["containers"]
    return count, int(container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0))
