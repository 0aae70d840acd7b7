"""Which pods hold which devices, out of what the kubelet says. Pure.

Names of devices are those of NVIDIA's device plugin: a UUID, that of an instance, or either with `::N` where a
device is shared in turns; and of GKE's: `nvidia0`, `nvidia0/gi1`, by minor number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from arbora.gpus.model import Holder
from arbora.v1 import pod_resources_pb2 as pb
from arbora_agent.gpu.reading import GpuFacts

RESOURCES = "nvidia.com/"
"""What the names of the resources begin with."""
_OLD_INSTANCE = re.compile(r"MIG-(GPU-[0-9a-fA-F-]+)/\d+/\d+")
_BY_MINOR = re.compile(r"nvidia(\d+)(?:/.*)?")

Holders = Mapping[str, tuple[Holder, ...]]
"""By the UUID of the whole device."""


def holders_of(said: pb.PodResourcesList, gpus: Iterable[GpuFacts]) -> tuple[Holders, tuple[str, ...]]:
    """The pods by device, and the names of devices that are none of these."""
    places: dict[str, str] = {}
    minors: dict[int, str] = {}
    for each in gpus:
        places[each.uuid] = each.uuid
        places |= {instance.uuid: each.uuid for instance in each.mig}
        if each.minor is not None:
            minors[each.minor] = each.uuid
    found: dict[str, set[tuple[str, str]]] = {uuid: set() for uuid in places.values()}
    unknown = set()
    for pod in said.pod_resources:
        for container in pod.containers:
            for devices in container.devices:
                if not devices.resource_name.startswith(RESOURCES):
                    continue
                for name in devices.device_ids:
                    uuid = _place(name, places, minors)
                    if uuid is None:
                        unknown.add(name)
                    else:
                        found[uuid].add((pod.namespace, pod.name))
    held = {uuid: tuple(Holder(*pod) for pod in sorted(pods)) for uuid, pods in found.items()}
    return held, tuple(sorted(unknown))


def _place(name: str, places: Mapping[str, str], minors: Mapping[int, str]) -> str | None:
    plain = name.partition("::")[0]
    if plain in places:
        return places[plain]
    if old := _OLD_INSTANCE.fullmatch(plain):
        return places.get(old[1])
    if by_minor := _BY_MINOR.fullmatch(plain):
        return minors.get(int(by_minor[1]))
    return None
