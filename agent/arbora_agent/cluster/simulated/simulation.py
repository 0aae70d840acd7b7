"""A whole cluster in memory: the API server's store, the nodes, the pods, and the moments at which they change.

What happens to one Job: `apply` stores it and tells the watchers; `step` lets its controller make a pod, the
scheduler give it a node, and the controller write `active`; when the clock shows the pod's end, the next `step`
writes `succeeded` and `Complete`. Nothing waits here: `cluster.py` calls `step` at `next_moment()`.

Several adapters may look at one simulation, as several agents may at one cluster. The methods under "Disturb it"
are what somebody else does to the cluster; tests and demos call them.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from arbora.clock import Clock
from arbora.errors import NotFound
from arbora.manifests.objects import Gvk, Manifest, ObjectRef
from arbora_agent.cluster.port import (
    CONDITION_TYPE,
    LABEL_WORKLOAD,
    ClusterUnavailable,
    GpuPod,
    NodeMark,
    ObjectRejected,
)
from arbora_agent.cluster.simulated.controllers import status_of, wanted_pods
from arbora_agent.cluster.simulated.fleet import SimulatedNode, parse_fleet
from arbora_agent.cluster.simulated.objects import Key, ObjectStore, key_of
from arbora_agent.cluster.simulated.pods import SimulatedPod, place
from arbora_agent.cluster.simulated.tokens import TokenIssuer
from arbora_agent.properties import Bounded, bounded

VERSION = "v1.36.0-simulated"
_UID_SPACE = uuid.UUID("6f2f3a2e-8c1b-5e0e-9a51-0a7b0ac1d0f5")
_POD = Gvk("v1", "Pod")

OnChange = Callable[[Sequence[Key]], None]
"""Told which objects changed; with none, nodes or pods did."""


class Simulation:
    """One simulated cluster. Its uid follows from its name."""

    def __init__(
        self, fleet: str = "", *, name: str = "simulated", clock: Clock, wall: Callable[[], float] = time.time
    ) -> None:
        """fleet: a spec for `parse_fleet`, which may raise InvalidInput. wall: Unix time, for stamps only."""
        self.clock = clock
        self.uid = uuid.uuid5(_UID_SPACE, name)
        self.tokens = TokenIssuer(wall)
        self._wall = wall
        self._nodes = {node.name: node for node in parse_fleet(fleet)}
        self._store = ObjectStore(self.uid, self._stamp())
        self._pods: dict[str, list[SimulatedPod]] = {}
        self._pod_serial = 0
        self._properties: dict[str, str] = {}
        self._watchers: list[OnChange] = []
        self._down_until = 0.0
        self._down_message = ""
        self._settle(clock.monotonic())
        self._store.drain()

    # What an API server's client does

    def check_api(self) -> None:
        """Raise ClusterUnavailable while the API server is made to fail."""
        if not self.api_healthy:
            raise ClusterUnavailable(self._down_message, hint="It comes back by itself or with restore_api().")

    @property
    def api_healthy(self) -> bool:
        """Whether the API server answers now."""
        return self.clock.monotonic() >= self._down_until

    @property
    def down_message(self) -> str:
        """Why it doesn't; empty if it does."""
        return "" if self.api_healthy else self._down_message

    def watch(self, on_change: OnChange) -> Callable[[], None]:
        """Be told of changes; the result ends it."""
        self._watchers.append(on_change)
        return lambda: self._watchers.remove(on_change)

    def apply(self, manifest: Manifest, workload_uid: str, generation: int) -> Key:
        """Server-side apply for a workload. Raises ObjectRejected, ClusterUnavailable."""
        self.check_api()
        key = self._store.apply(manifest, workload_uid, generation, self._stamp())
        self._tell()
        return key

    def delete(self, ref: ObjectRef, uid: str) -> None:
        """Delete the object with exactly this uid. Raises ObjectRejected, ClusterUnavailable."""
        self.check_api()
        self._store.delete(ref, self._stamp(), uid=uid)
        self._tell()

    def get(self, key: Key) -> Mapping[str, Any] | None:
        """An object as it is now."""
        return self._store.get(key)

    def ref(self, key: Key) -> ObjectRef:
        """The reference of an object that exists."""
        return self._store.ref(key)

    def places(self) -> Sequence[Key]:
        """Where there are objects."""
        return tuple(self._store.places())

    # What the cluster shows

    @property
    def nodes(self) -> Sequence[SimulatedNode]:
        """All nodes by name."""
        return tuple(self._nodes[name] for name in sorted(self._nodes))

    @property
    def properties(self) -> Bounded:
        """The ClusterProperty objects that are reported, and the names of those that are not."""
        return bounded(self._properties)

    def requested(self) -> Mapping[tuple[str, str], int]:
        """Devices that running pods hold, by node and resource name."""
        held = Counter[tuple[str, str]]()
        for pod in self._all_pods():
            if pod.running:
                held.update({(pod.node, resource): count for resource, count in pod.template.gpus})
        return held

    def gpu_pods(self) -> tuple[GpuPod, ...]:
        """Running pods that ask for GPUs, sorted."""
        found = []
        for key in self._store.places():
            body = self._store.get(key)
            if body is None:
                continue
            metadata = body["metadata"]
            workload = (metadata.get("labels") or {}).get(LABEL_WORKLOAD, "")
            for pod in self._pods.get(metadata["uid"], ()):
                if pod.running and pod.template.gpus:
                    name = metadata["name"] if key.kind == "Pod" else f"{metadata['name']}-{pod.serial}"
                    found.append(GpuPod(pod.node, key.namespace, name, pod.template.gpus, workload))
        return tuple(sorted(found))

    def pending(self) -> Mapping[str, int]:
        """Devices that waiting pods ask for, by resource name."""
        asked = Counter[str]()
        for pod in self._all_pods():
            if pod.waiting:
                asked.update(dict(pod.template.gpus))
        return asked

    # How time passes

    def next_moment(self) -> float | None:
        """When something will happen by itself."""
        moments = [pod.ends for pod in self._all_pods() if pod.ends is not None]
        if not self.api_healthy and self._down_until != float("inf"):
            moments.append(self._down_until)
        return min(moments, default=None)

    def step(self) -> None:
        """Let everything happen that is due by now, each thing at its own moment, and tell the watchers."""
        now = self.clock.monotonic()
        moved = self._settle(now)
        while True:
            ends = min((pod.ends for pod in self._all_pods() if pod.ends is not None), default=None)
            if ends is None or ends > now:
                break
            self._finish(lambda pod, moment=ends: pod.ends is not None and pod.ends <= moment)  # type: ignore[misc]
            self._settle(ends)
            moved = True
        self._tell(moved)

    def _settle(self, moment: float) -> bool:
        """Controllers and scheduler at `moment`, until nothing changes any more. Returns whether pods changed."""
        first = before = self._snapshot()
        while True:
            self._control()
            for serial, node in place(self._nodes.values(), self._all_pods()).items():
                self._bind(serial, node, moment)
            after = self._snapshot()
            if after == before:
                break
            before = after
        for key in self._store.places():
            body = self._store.get(key)
            if body is not None:
                status = status_of(body, self._pods.get(body["metadata"]["uid"], ()), self._stamp())
                if status is not None:
                    self._store.set_status(key, status)
        return after != first

    def _snapshot(self) -> dict[str, tuple[SimulatedPod, ...]]:
        return {uid: tuple(pods) for uid, pods in self._pods.items()}

    def _control(self) -> None:
        pods: dict[str, list[SimulatedPod]] = {}
        for key in self._store.places():
            body = self._store.get(key)
            if body is not None and "deletionTimestamp" not in body["metadata"]:
                uid = body["metadata"]["uid"]
                made = wanted_pods(body, self._pods.get(uid, ()), self._nodes.values(), self._next_serial)
                if made:
                    pods[uid] = made
        self._pods = pods

    def _next_serial(self) -> int:
        self._pod_serial += 1
        return self._pod_serial

    def _all_pods(self) -> list[SimulatedPod]:
        return [pod for pods in self._pods.values() for pod in pods]

    def _bind(self, serial: int, node: str, moment: float) -> None:
        for pods in self._pods.values():
            for index, pod in enumerate(pods):
                if pod.serial == serial:
                    pods[index] = replace(pod, node=node, started=moment)

    def _finish(self, which: Callable[[SimulatedPod], bool]) -> None:
        for pods in self._pods.values():
            pods[:] = [replace(pod, succeeded=True) if pod.running and which(pod) else pod for pod in pods]

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _tell(self, moved: bool = False) -> None:
        changed = self._store.drain()
        if changed or moved:
            for watcher in tuple(self._watchers):
                watcher(changed)

    # Disturb it

    def create(self, manifest: Manifest) -> ObjectRef:
        """Somebody else creates or replaces an object. Raises ObjectRejected."""
        key = self._store.replace(manifest, self._stamp())
        self._tell()
        return self._store.ref(key)

    def change(self, ref: ObjectRef, merge: Mapping[str, Any]) -> None:
        """Somebody else merges `merge` into an object; null removes. Raises ObjectRejected."""
        self._store.patch(ref, merge, self._stamp())
        self._tell()

    def remove(self, ref: ObjectRef) -> None:
        """Somebody else deletes an object. Raises ObjectRejected."""
        self._store.delete(ref, self._stamp())
        self._tell()

    def read(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """An object as it is now, by reference."""
        return self._store.get(key_of(ref))

    def finish(self, ref: ObjectRef) -> None:
        """The running pods of an object succeed now. Raises NotFound."""
        body = self.read(ref)
        if body is None:
            raise NotFound(f"{ref} does not exist")
        self._finish(lambda pod: pod.owner == body["metadata"]["uid"])
        self.step()
        self._tell(moved=True)

    def mark(self, name: str, mark: NodeMark) -> None:
        """Show the health of its GPUs on a node. Raises ObjectRejected."""
        if name not in self._nodes:
            raise ObjectRejected(f'nodes "{name}" not found')
        before = self._nodes[name]
        tainted = before.tainted if mark.taint is None else mark.taint
        conditions = before.conditions
        if mark.condition is not None:
            kept = tuple(each for each in conditions if each[0] != CONDITION_TYPE)
            conditions = (*kept, (CONDITION_TYPE, str(mark.condition)))
        after = replace(before, tainted=tainted, conditions=conditions)
        if after != before:
            self.add_node(after)

    def add_nodes(self, spec: str) -> Sequence[SimulatedNode]:
        """Nodes join. Raises InvalidInput."""
        nodes = parse_fleet(spec, taken=self._nodes)
        self._nodes |= {node.name: node for node in nodes}
        self._nodes_changed()
        return nodes

    def add_node(self, node: SimulatedNode) -> None:
        """One node joins, or comes back changed."""
        self._nodes[node.name] = node
        self._nodes_changed()

    def remove_node(self, name: str) -> None:
        """A node is gone with its pods; controllers replace theirs, bare pods are deleted. Raises NotFound."""
        del self._nodes[self._node(name).name]
        for uid, pods in self._pods.items():
            self._pods[uid] = [pod for pod in pods if pod.succeeded or pod.node != name]
        for key in self._store.places():
            body = self._store.get(key)
            if body is not None and key.kind == _POD.kind and not self._pods.get(body["metadata"]["uid"]):
                self._store.delete(self._store.ref(key), self._stamp())
        self._nodes_changed()

    def cordon(self, name: str, cordoned: bool = True) -> None:
        """Close a node for new pods, or open it again. Raises NotFound."""
        self.add_node(replace(self._node(name), cordoned=cordoned))

    def say(self, name: str, value: str | None) -> None:
        """The cluster has this ClusterProperty now; None: no more."""
        if value is None:
            self._properties.pop(name, None)
        else:
            self._properties[name] = value
        self._tell(moved=True)

    def fail_api(self, seconds: float | None = None, message: str = "the API server can't be reached") -> None:
        """The API server stops answering, for `seconds` or until `restore_api`; watches fall silent."""
        self._down_until = float("inf") if seconds is None else self.clock.monotonic() + seconds
        self._down_message = message
        self._tell(moved=True)

    def restore_api(self) -> None:
        """The API server answers again."""
        self._down_until = 0.0
        self._tell(moved=True)

    def _nodes_changed(self) -> None:
        self.step()
        self._tell(moved=True)

    def _node(self, name: str) -> SimulatedNode:
        if name not in self._nodes:
            raise NotFound(f"node {name} does not exist")
        return self._nodes[name]
