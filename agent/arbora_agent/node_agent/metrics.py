"""What a node agent shows to Prometheus: its node's GPUs, device by device, and how it is doing itself.

    the loop:   the collector looked at a device -> `look()` -> a snapshot takes the place of the one before
    a scrape:   (on another thread) -> `families(snapshot ...)` -> text

Names and labels are those of NVIDIA's dcgm-exporter wherever a number means the same, so that dashboards and
alerts go on working. What the exporter calls a counter is untyped here where it has its name: a counter would
have to end in `_total`. The label is Hostname as in its releases up to 4.5.3; its main branch says hostname.

What a device does not offer is absent, and never 0. So is what it says of the moment once it no longer answers,
is no longer listed, or the driver is away; what it has counted stays. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from arbora.gpus.health import Health
from arbora_agent.gpu.health.xids import rule_of
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading
from arbora_agent.node_agent.series import COUNTED, DCGM_COUNTED, DCGM_NOW, NOW, Told
from arbora_agent.node_agent.watch import MIB, NodeWatch, Watched

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """One device, as it was last looked at."""

    facts: GpuFacts
    reading: GpuReading
    """The last one that it answered."""
    present: bool
    """Whether what it says of the moment still holds."""
    health: Health
    xids: int
    last_xid: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A node's devices at one moment."""

    driver: str = ""
    available: bool = False
    """Whether the driver can be asked."""
    read_at: float | None = None
    """When a device last answered or turned out to be lost, by the clock of the watch; None: never."""
    devices: tuple[Seen, ...] = ()


class NodeMetrics(Collector):
    """Keeps the snapshot: `look` belongs to the loop, `collect` to other threads."""

    def __init__(
        self, watch: NodeWatch, connected: Callable[[], bool], clock: Callable[[], float], hostname: str
    ) -> None:
        """connected: whether there is a session; clock: that of the watch. Both are called on other threads.
        hostname: for the label Hostname."""
        self._watch = watch
        self._connected = connected
        self._clock = clock
        self._hostname = hostname
        self._snapshot = Snapshot()

    def look(self) -> None:
        """Take over what the watch knows now. On the loop."""
        self._snapshot = snapshot_of(self._watch)

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, on its thread."""
        yield from families(self._snapshot, self._connected(), self._clock(), self._hostname)


def snapshot_of(watch: NodeWatch) -> Snapshot:
    """What is known of a node's devices now."""
    devices = watch.devices
    return Snapshot(
        watch.driver,
        watch.available,
        max((each.read_at for each in devices if each.read_at is not None), default=None),
        tuple(_seen(each, watch.available) for each in devices),
    )


def families(snapshot: Snapshot, connected: bool, now: float, hostname: str) -> Iterator[Metric]:
    """Everything, without families of which no device has a sample."""
    yield GaugeMetricFamily(
        "arbora_node_agent_connected", "Whether it has a session with its cluster's agent.", float(connected)
    )
    yield GaugeMetricFamily(
        "arbora_node_agent_driver_available", "Whether the driver can be asked.", float(snapshot.available)
    )
    if snapshot.read_at is not None:
        yield GaugeMetricFamily(
            "arbora_node_agent_last_reading_age_seconds",
            "How long ago a device was last read.",
            max(0.0, now - snapshot.read_at),
            unit="seconds",
        )
    devices = [(one, _labels(one.facts, snapshot.driver, hostname)) for one in snapshot.devices]
    for family in _all(devices):
        if family.samples:
            yield family


def _all(devices: list[tuple[Seen, Labels]]) -> Iterator[Metric]:
    present = [(one.reading, labels) for one, labels in devices if one.present]
    for suffix, words, told in DCGM_NOW:
        yield _filled(GaugeMetricFamily(f"DCGM_FI_DEV_{suffix}", words), present, told)
    for suffix, words, told in DCGM_COUNTED:
        counted = [(one.reading, labels) for one, labels in devices]
        yield _filled(UnknownMetricFamily(f"DCGM_FI_DEV_{suffix}", words), counted, told)
    yield from _memory([(one, labels) for one, labels in devices if one.present])
    yield _last_xid(devices)
    for name, words, unit, told in NOW:
        yield _filled(GaugeMetricFamily(name, words, unit=unit), present, told)
    for name, words, unit, label, rows in COUNTED:
        counter = CounterMetricFamily(name, words, unit=unit)
        for value, told in rows:
            for one, labels in devices:
                number = told(one.reading)
                if number is not None:
                    more = {label: value} if label else {}
                    counter.add_sample(f"{counter.name}_total", {**labels, **more}, number)
        yield counter
    yield from _judged(devices)


def _filled(family: Metric, devices: list[tuple[GpuReading, Labels]], told: Told) -> Metric:
    for reading, labels in devices:
        number = told(reading)
        if number is not None:
            family.add_sample(family.name, labels, number)
    return family


def _memory(devices: list[tuple[Seen, Labels]]) -> Iterator[Metric]:
    """Of a divided device by instance and not as a whole, so that sums are right.

    What the driver reserves inside an instance is not told; it counts as free.
    """
    free = GaugeMetricFamily("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).")
    used = GaugeMetricFamily("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).")
    kept = GaugeMetricFamily("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved (in MiB).")

    def add(labels: Labels, in_use: int | None, reserved: int | None, total: int | None) -> None:
        if in_use is not None:
            used.add_sample(used.name, labels, in_use // MIB)
        if reserved is not None:
            kept.add_sample(kept.name, labels, reserved // MIB)
        if in_use is not None and total is not None:
            free.add_sample(free.name, labels, max(0, total - in_use - (reserved or 0)) // MIB)

    for one, labels in devices:
        facts, reading = one.facts, one.reading
        if not facts.mig:
            add(labels, reading.memory_used, reading.memory_reserved, facts.memory_bytes)
            continue
        if len(facts.mig) != len(reading.mig_memory_used):
            continue  # it was divided anew since it was read
        known = set()
        for each, in_use in zip(facts.mig, reading.mig_memory_used, strict=True):
            if each.gpu_instance not in known:  # compute instances of one GPU instance share its memory
                known.add(each.gpu_instance)
                profile = each.profile.rpartition("c.")[2]
                more = {"GPU_I_PROFILE": profile, "GPU_I_ID": str(each.gpu_instance)}
                add({**labels, **more}, in_use, None, each.memory_bytes)
    yield from (free, used, kept)


def _last_xid(devices: list[tuple[Seen, Labels]]) -> Metric:
    """0 where there was none, as the exporter has it."""
    family = GaugeMetricFamily("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.")
    for one, labels in devices:
        code = one.last_xid or 0
        words = rule_of(code).words if code else "No Error"
        family.add_sample(family.name, {**labels, "err_code": str(code), "err_msg": words}, code)
    return family


def _judged(devices: list[tuple[Seen, Labels]]) -> Iterator[Metric]:
    health = GaugeMetricFamily("arbora_gpu_health", "1 for the health that it has, 0 for the others.")
    xids = CounterMetricFamily("arbora_gpu_xid_errors", "Error codes heard, those that the kernel log kept, too.")
    for one, labels in devices:
        for each in Health:
            health.add_sample(health.name, {**labels, "health": each.name.lower()}, float(one.health is each))
        xids.add_sample(f"{xids.name}_total", labels, one.xids)
    yield from (health, xids)


def _labels(facts: GpuFacts, driver: str, hostname: str) -> Labels:
    """As the exporter's; it, too, counts devices in `device`, and not minor numbers."""
    return {
        "gpu": str(facts.index),
        "UUID": facts.uuid,
        "pci_bus_id": facts.pci_bus_id,
        "device": f"nvidia{facts.index}",
        "modelName": facts.name,
        "Hostname": hostname,
        "DCGM_FI_DRIVER_VERSION": driver,
    }


def _seen(one: Watched, available: bool) -> Seen:
    return Seen(
        one.facts,
        one.reading,
        available and one.listed and one.answer is Answer.ANSWERS,
        one.machine.verdict.health,
        one.machine.xids,
        one.machine.last_xid,
    )
