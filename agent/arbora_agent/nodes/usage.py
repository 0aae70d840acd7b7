"""Which pods hold which GPUs of a node, and where Kubernetes and the devices disagree. Pure: times come in.

Kubernetes counts GPUs and does not say which device a pod has. What can be known:

    the node's agent asked the kubelet          exact
    no pod asks for any, or pods ask for all    exact, too: none is held, or each one
    else                                        numbers only: how many are idle, how many leaked

    idle     held by a pod for half an hour, and nothing ran on it all the time
    leaked   something has run on it for five minutes, and no pod holds it

Shared and divided devices are only judged where the kubelet was asked, as counts don't tell them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from arbora.gpus.model import NOTHING, Device, Holder, Node, Use, Values
from arbora_agent.cluster.port import GpuPod

IDLE_SECONDS = 1800.0
LEAK_SECONDS = 300.0
WHOLE = frozenset({"nvidia.com/gpu"})
"""Resources that stand for whole devices."""
MAX_CANDIDATES = 8
"""Pods that are named for a device that one of them holds."""


@dataclass(slots=True)
class Remembered:
    """What has to be remembered of one node to tell idle from busy."""

    since: float
    """When it was first looked at."""
    active: dict[str, float] = field(default_factory=dict)
    """When each device was last seen busy, by UUID."""
    held: dict[str, float] = field(default_factory=dict)
    """Since when each is held."""
    leaking: dict[str, float] = field(default_factory=dict)
    """Since when something runs on each without a pod."""
    over: float | None = None
    """Since when more devices are busy than pods ask for."""
    asked: deque[tuple[float, int]] = field(default_factory=deque)
    """How many devices pods asked for, from when on; what was before the last half hour is one entry."""


def judge_use(
    said: Node,
    values: Mapping[str, Values],
    pods: Sequence[GpuPod],
    names: Mapping[str, str],
    shared: bool,
    known: Remembered,
    now: float,
) -> Node:
    """The node with use and holders filled in.

    said: as its agent says. values: by UUID. pods: those on this node. names: of workloads by uid. shared:
    whether devices are shared between pods. known: is updated.
    """
    busy = {each.uuid: is_busy(values.get(each.uuid, NOTHING)) for each in said.devices}
    for uuid, is_so in busy.items():
        if is_so:
            known.active[uuid] = now
    if said.holders_known:
        return _exact(said, busy, pods, names, known, now)
    asked = sum(count for pod in pods for resource, count in pod.gpus if resource in WHOLE)
    _remember(known, asked, now)
    divided = any(each.mig_enabled for each in said.devices)
    if shared or divided or any(resource not in WHOLE for pod in pods for resource, _ in pod.gpus):
        return replace(said, devices=tuple(replace(each, use=Use.UNKNOWN, holders=()) for each in said.devices))
    if asked == 0 or asked >= len(said.devices):
        holders = _candidates(pods, names, certain=len(pods) == 1) if asked else ()
        devices = tuple(replace(each, holders=holders) for each in said.devices)
        return replace(
            said, devices=tuple(_used(each, bool(asked), busy[each.uuid], known, now) for each in devices)
        )
    candidates = _candidates(pods, names, certain=False)
    devices = tuple(replace(each, use=Use.UNKNOWN, holders=candidates) for each in said.devices)
    return replace(
        said, devices=devices, idle=_idle(devices, known, now), leaked=_leaked(busy, asked, known, now)
    )


def is_busy(values: Values) -> bool | None:
    """Whether something runs on a device; None: that is not known."""
    if values.processes is None and values.utilization is None:
        return None
    return bool(values.processes) or bool(values.utilization)


def _exact(
    said: Node,
    busy: Mapping[str, bool | None],
    pods: Sequence[GpuPod],
    names: Mapping[str, str],
    known: Remembered,
    now: float,
) -> Node:
    """Every holder is named; only the workload that it belongs to is not known there.

    A kubelet may name pods that have finished; those hold nothing.
    """
    workloads = {(pod.namespace, pod.name): names.get(pod.workload_uid, "") for pod in pods}
    devices = []
    for each in said.devices:
        holders = tuple(
            replace(one, workload=workloads[one.namespace, one.pod])
            for one in each.holders
            if (one.namespace, one.pod) in workloads
        )
        device = replace(each, holders=holders)
        devices.append(_used(device, bool(holders), busy[each.uuid], known, now))
    return replace(said, devices=tuple(devices))


def _used(device: Device, held: bool, busy: bool | None, known: Remembered, now: float) -> Device:
    uuid = device.uuid
    if held:
        known.leaking.pop(uuid, None)
        since = known.held.setdefault(uuid, now)
        quiet = busy is False and now - max(since, known.active.get(uuid, known.since)) >= IDLE_SECONDS
        return replace(device, use=Use.IDLE if quiet else Use.HELD)
    known.held.pop(uuid, None)
    if not busy:
        known.leaking.pop(uuid, None)
        return replace(device, use=Use.FREE)
    leaks = now - known.leaking.setdefault(uuid, now) >= LEAK_SECONDS
    return replace(device, use=Use.LEAKED if leaks else Use.UNKNOWN)


def _remember(known: Remembered, asked: int, now: float) -> None:
    if not known.asked or known.asked[-1][1] != asked:
        known.asked.append((now, asked))
    while len(known.asked) > 1 and known.asked[1][0] <= now - IDLE_SECONDS:
        known.asked.popleft()


def _idle(devices: Sequence[Device], known: Remembered, now: float) -> int:
    """Devices that pods have asked for all this half hour, beyond those that were busy at any time in it."""
    begin = now - IDLE_SECONDS
    if known.since > begin or not known.asked or known.asked[0][0] > begin:
        return 0
    least = min(count for _, count in known.asked)
    active = sum(known.active.get(each.uuid, float("-inf")) > begin for each in devices)
    return max(0, least - active)


def _leaked(busy: Mapping[str, bool | None], asked: int, known: Remembered, now: float) -> int:
    over = sum(each is True for each in busy.values()) - asked
    if over <= 0:
        known.over = None
        return 0
    known.over = now if known.over is None else known.over
    return over if now - known.over >= LEAK_SECONDS else 0


def _candidates(pods: Sequence[GpuPod], names: Mapping[str, str], *, certain: bool) -> tuple[Holder, ...]:
    return tuple(
        Holder(pod.namespace, pod.name, names.get(pod.workload_uid, ""), certain) for pod in pods[:MAX_CANDIDATES]
    )
