"""Conversion between GPUs and the messages of gpu.proto. Validates what comes in.

A node's agent is believed about its own devices. What is malformed or too much is refused as a whole, naming the
field, before anything counts or keeps it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from arbora.errors import InvalidInput
from arbora.gpus.health import health_from_wire
from arbora.gpus.model import Counters, Device, Holder, Mig, Node, Use, Values
from arbora.v1 import gpu_pb2 as pb

MAX_DEVICES = 256
"""Of one node."""
MAX_INSTANCES = 64
"""Of one device."""
MAX_HOLDERS = 64
MAX_TEXT = 253
MAX_REASON = 500
MAX_SECONDS = 10 * 365 * 86_400.0

_COUNTERS = (
    "ecc_corrected",
    "ecc_uncorrected",
    "ecc_corrected_aggregate",
    "ecc_uncorrected_aggregate",
    "remapped_corrected",
    "remapped_uncorrected",
    "pcie_replays",
    "nvlink_errors",
)
_VALUES = (
    "utilization",
    "memory_utilization",
    "memory_used_mib",
    "temperature",
    "memory_temperature",
    "power",
    "sm_clock",
    "memory_clock",
    "processes",
    "throttle",
)
_UINT32 = 2**32 - 1


def node_to_wire(node: Node) -> pb.NodeGpus:
    """For the record `gpu/<node>`."""
    return pb.NodeGpus(
        driver=node.driver[:MAX_TEXT],
        cuda=node.cuda[:MAX_TEXT],
        gpus=map(device_to_wire, node.devices[:MAX_DEVICES]),
        trouble=node.trouble[:MAX_REASON],
        silent=node.silent,
        layout=node.layout,
        idle=node.idle,
        leaked=node.leaked,
        holders_known=node.holders_known,
    )


def node_from_wire(message: pb.NodeGpus) -> Node:
    """Raises InvalidInput that names the wrong field."""
    _at_most(len(message.gpus), MAX_DEVICES, "gpus")
    devices = tuple(_device(each, f"gpus[{index}]") for index, each in enumerate(message.gpus))
    if len({each.uuid for each in devices}) < len(devices):
        raise InvalidInput("one UUID stands twice", field="gpus")
    node = Node(
        driver=_text(message.driver, "driver"),
        cuda=_text(message.cuda, "cuda"),
        devices=devices,
        trouble=message.trouble[:MAX_REASON],
        silent=message.silent,
        idle=message.idle,
        leaked=message.leaked,
        holders_known=message.holders_known,
    )
    if node.layout != message.layout:
        raise InvalidInput("does not name the order of the devices", field="layout")
    return node


def device_to_wire(device: Device) -> pb.GpuDevice:
    """One device as a message."""
    message = pb.GpuDevice(
        uuid=device.uuid,
        index=device.index,
        name=device.name[:MAX_TEXT],
        serial=device.serial[:MAX_TEXT],
        pci_bus_id=device.pci_bus_id[:MAX_TEXT],
        compute_capability=device.compute_capability[:MAX_TEXT],
        architecture=device.architecture[:MAX_TEXT],
        mig_enabled=device.mig_enabled,
        mig=[
            pb.MigDevice(
                uuid=each.uuid,
                profile=each.profile,
                gpu_instance=each.gpu_instance,
                compute_instance=each.compute_instance,
                memory_bytes=each.memory_bytes,
            )
            for each in device.mig[:MAX_INSTANCES]
        ],
        health=int(device.health),  # type: ignore[arg-type]  # enums are plain ints at run time
        reason=device.reason[:MAX_REASON],
        use=int(device.use),  # type: ignore[arg-type]  # as above
        holders=[
            pb.GpuHolder(namespace=each.namespace, pod=each.pod, workload=each.workload, certain=each.certain)
            for each in device.holders[:MAX_HOLDERS]
        ],
        memory_bytes=device.memory_bytes,
        last_xid=device.last_xid,
    )
    counters = {name: getattr(device.counters, name) for name in _COUNTERS}
    message.counters.CopyFrom(pb.GpuCounters(**counters, xids=min(device.counters.xids, _UINT32)))
    message.health_for.FromMilliseconds(int(min(max(device.health_for, 0.0), MAX_SECONDS) * 1000))
    return message


def values_to_wire(layout: int, values: Sequence[Values]) -> pb.NodeGpuValues:
    """For the record `gpu-values/<node>`. values: in the order of the node's devices."""
    return pb.NodeGpuValues(layout=layout, gpus=[device_values_to_wire(each) for each in values])


def device_values_to_wire(values: Values) -> pb.GpuValues:
    """The hot set of one device as a message."""
    known = {name: min(value, _UINT32) for name in _VALUES if (value := getattr(values, name)) is not None}
    return pb.GpuValues(**known, mig_memory_used_mib=values.mig_memory_used_mib)


def values_from_wire(message: pb.NodeGpuValues) -> tuple[int, tuple[Values, ...]]:
    """The layout that the order follows, and the values. Raises InvalidInput."""
    _at_most(len(message.gpus), MAX_DEVICES, "gpus")
    return message.layout, tuple(
        device_values_from_wire(each, f"gpus[{index}]") for index, each in enumerate(message.gpus)
    )


def device_values_from_wire(message: pb.GpuValues, field: str = "values") -> Values:
    """The hot set of one device. Raises InvalidInput."""
    _at_most(len(message.mig_memory_used_mib), MAX_INSTANCES, f"{field}.mig_memory_used_mib")
    known = {name: getattr(message, name) if message.HasField(name) else None for name in _VALUES}  # type: ignore[arg-type]
    for name in ("utilization", "memory_utilization"):
        if (known[name] or 0) > 100:
            raise InvalidInput("is more than 100 %", field=f"{field}.{name}")
    return Values(**known, mig_memory_used_mib=tuple(message.mig_memory_used_mib))


def _device(message: pb.GpuDevice, field: str) -> Device:
    _at_most(len(message.mig), MAX_INSTANCES, f"{field}.mig")
    _at_most(len(message.holders), MAX_HOLDERS, f"{field}.holders")
    if not message.uuid:
        raise InvalidInput("is missing", field=f"{field}.uuid")
    counters = message.counters
    known = {name: getattr(counters, name) if counters.HasField(name) else None for name in _COUNTERS}  # type: ignore[arg-type]
    return Device(
        uuid=_text(message.uuid, f"{field}.uuid"),
        index=message.index,
        # the same in all devices of a kind, and there may be thousands
        name=sys.intern(_text(message.name, f"{field}.name")),
        serial=_text(message.serial, f"{field}.serial"),
        pci_bus_id=_text(message.pci_bus_id, f"{field}.pci_bus_id"),
        memory_bytes=message.memory_bytes if message.HasField("memory_bytes") else None,
        compute_capability=sys.intern(_text(message.compute_capability, f"{field}.compute_capability")),
        architecture=sys.intern(_text(message.architecture, f"{field}.architecture")),
        mig_enabled=message.mig_enabled,
        mig=tuple(_mig(each, f"{field}.mig[{index}]") for index, each in enumerate(message.mig)),
        health=health_from_wire(message.health),
        reason=sys.intern(message.reason[:MAX_REASON]),
        health_for=min(max(message.health_for.seconds + message.health_for.nanos / 1e9, 0.0), MAX_SECONDS),
        counters=Counters(**known, xids=counters.xids),
        last_xid=message.last_xid if message.HasField("last_xid") else None,
        use=_use(message.use),
        holders=tuple(
            Holder(
                _text(each.namespace, f"{field}.holders"),
                _text(each.pod, f"{field}.holders"),
                _text(each.workload, f"{field}.holders"),
                each.certain,
            )
            for each in message.holders
        ),
    )


def _mig(message: pb.MigDevice, field: str) -> Mig:
    return Mig(
        uuid=_text(message.uuid, f"{field}.uuid"),
        profile=sys.intern(_text(message.profile, f"{field}.profile")),
        gpu_instance=message.gpu_instance,
        compute_instance=message.compute_instance,
        memory_bytes=message.memory_bytes if message.HasField("memory_bytes") else None,
    )


def _use(number: int) -> Use:
    try:
        return Use(number)
    except ValueError:
        return Use.UNKNOWN


def _text(text: str, field: str) -> str:
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"is longer than {MAX_TEXT} characters", field=field)
    return text


def _at_most(count: int, limit: int, field: str) -> None:
    if count > limit:
        raise InvalidInput(f"has {count} entries, more than {limit}", field=field)
