"""The instances of a divided device (MIG): their facts, and the names of their profiles.

An instance that Kubernetes hands out is a compute instance inside a GPU instance. Its profile is named as in
NVIDIA's resource names: 1g.10gb, or 1c.2g.20gb where it has only a part of the GPU instance's slices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from arbora_agent.gpu.nvml.calls import Calls, memory_of
from arbora_agent.gpu.reading import MigFacts

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance."""

    handle: Any
    facts: MigFacts


def is_enabled(calls: Calls, handle: Any) -> bool:
    """Whether the device is divided now. What it will be after its next reset does not matter."""
    mode = calls.ask("nvmlDeviceGetMigMode", handle)
    return mode is not None and bool(mode[0])


def instances(calls: Calls, handle: Any, device_memory: int | None) -> tuple[Instance, ...]:
    """In the order of their indexes, which have gaps. device_memory: bytes of the whole device."""
    count = calls.ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0
    handles = (calls.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, index) for index in range(count))
    found = (_instance(calls, each, device_memory) for each in handles if each is not None)
    return tuple(each for each in found if each is not None)


def _instance(calls: Calls, handle: Any, device_memory: int | None) -> Instance | None:
    uuid = calls.ask("nvmlDeviceGetUUID", handle)
    if not uuid:
        return None  # it was removed meanwhile; the event of its removal asks for the facts anew
    attributes = calls.ask("nvmlDeviceGetAttributes_v2", handle)
    memory = memory_of(calls, handle)
    size = attributes.memorySizeMB * MIB if memory is None and attributes is not None else None
    facts = MigFacts(
        uuid,
        profile_of(calls.ask("nvmlDeviceGetName", handle) or "") or _derived(attributes, device_memory),
        calls.ask("nvmlDeviceGetGpuInstanceId", handle) or 0,
        calls.ask("nvmlDeviceGetComputeInstanceId", handle) or 0,
        size if memory is None else memory.total,
    )
    return Instance(handle, facts)


def profile_of(name: str) -> str:
    """From the name of an instance, such as `NVIDIA H100 80GB HBM3 MIG 1g.10gb`; empty if it names none."""
    _, mark, profile = name.rpartition(" MIG ")
    return profile.strip() if mark else ""


def _derived(attributes: Any, device_memory: int | None) -> str:
    """For a driver that does not name it. What an instance has besides, such as media engines, is not told."""
    if attributes is None or not device_memory:
        return ""
    slices, part = attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount
    if not slices:
        return ""
    gb = rounded_gb(attributes.memorySizeMB * MIB, device_memory)
    name = f"{slices}g.{gb}gb"
    return f"{part}c.{name}" if 0 < part < slices else name


def rounded_gb(memory: int, device_memory: int) -> int:
    """The number in a profile's name: eighths of the device in whole GiB, rounded up; as go-nvlib does."""
    eighths = math.ceil(memory / device_memory * 8) / 8
    return math.floor(eighths * math.ceil(device_memory / GIB) + 0.5)
