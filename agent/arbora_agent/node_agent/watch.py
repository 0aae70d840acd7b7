"""From what the driver says to what the cluster's agent is told. Pure: times come in.

    facts, readings, error codes  ->  one health machine for each device
                                  ->  `node()`, the record `gpu`, when health or facts changed
                                  ->  `values()`, the record `gpu-values`, when a value left its band

What only counts (corrected errors, replays) is told at most once a minute: a bad device counts all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from arbora.gpus.model import NOTHING, Counters, Device, Holder, Mig, Node, Values
from arbora_agent.gpu.deadband import worth_telling
from arbora_agent.gpu.health import HealthMachine, Verdict
from arbora_agent.gpu.reading import Answer, GpuFacts, GpuReading, NodeFacts, Xid

COUNTERS_SECONDS = 60.0
MIB = 2**20
_IDLE = 0x1
"""nvmlClocksEventReasonGpuIdle: no reason to tell of."""


@dataclass(slots=True)
class Watched:
    """One device."""

    facts: GpuFacts
    machine: HealthMachine
    reading: GpuReading
    """The last one that the device answered; what it counted stays in sight when it is lost."""
    values: Values = NOTHING
    sent: Values = NOTHING
    listed: bool = True
    answer: Answer = Answer.SILENT
    """How it answered when it was last read."""
    read_at: float | None = None
    """When it last told something, be it that it is lost."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A device changed its health."""

    device: GpuFacts
    before: Verdict
    after: Verdict


class NodeWatch:
    """All devices of one node, by UUID. A device that was seen once is never forgotten."""

    def __init__(self) -> None:
        self._devices: dict[str, Watched] = {}
        self._driver = ""
        self._cuda = ""
        self._trouble = "not read yet"
        self._told: Node | None = None
        self._counters_at = float("-inf")
        self._layout_told: int | None = None
        self._holders: Mapping[str, tuple[Holder, ...]] | None = None

    @property
    def devices(self) -> tuple[Watched, ...]:
        """In the order of their indexes; those that the driver no longer lists after the others."""
        return tuple(
            sorted(self._devices.values(), key=lambda each: (not each.listed, each.facts.index, each.facts.uuid))
        )

    @property
    def driver(self) -> str:
        """The driver's version; empty: not known yet."""
        return self._driver

    @property
    def available(self) -> bool:
        """Whether devices can be read now."""
        return not self._trouble

    def find(self, uuid: str) -> Watched | None:
        """The device `uuid`."""
        return self._devices.get(uuid)

    def listed(self, facts: NodeFacts, now: float) -> tuple[Transition, ...]:
        """The driver lists these devices now."""
        self._driver, self._cuda = facts.driver, facts.cuda
        changed = []
        for one in facts.gpus:
            known = self._devices.get(one.uuid)
            if known is None:
                self._devices[one.uuid] = Watched(one, HealthMachine(now), GpuReading(one.uuid))
            else:
                known.facts, known.listed = one, True
        present = {one.uuid for one in facts.gpus}
        for uuid, known in self._devices.items():
            if uuid not in present:
                known.listed = False
                changed.append(_with(known, lambda machine: machine.gone(now)))
        return _real(changed)

    def read(self, reading: GpuReading, now: float) -> tuple[Transition, ...]:
        """A device was read."""
        known = self._devices.get(reading.uuid)
        if known is None or not known.listed:
            return ()
        links = max(
            (
                each.reading.nvlinks_active or 0
                for each in self._devices.values()
                if each is not known and each.facts.name == known.facts.name
            ),
            default=0,
        )
        changed = _with(known, lambda machine: machine.saw(reading, known.facts, now, siblings_links=links))
        known.answer = reading.answer
        if reading.answer is Answer.ANSWERS:
            known.reading = reading
        if reading.answer is not Answer.SILENT:
            known.values = values_of(reading)
            known.read_at = now
        return _real([changed])

    def heard(self, xid: Xid, now: float) -> tuple[Transition, ...]:
        """The driver reported an error; of an unknown device it counts for none."""
        known = self._devices.get(xid.uuid)
        return () if known is None else _real([_with(known, lambda machine: machine.heard(xid, now))])

    def driver_loaded(self, now: float) -> None:
        """The driver was away and is there again: whatever a device had is behind it."""
        for known in self._devices.values():
            known.machine.began_anew(now)

    def held(self, holders: Mapping[str, tuple[Holder, ...]] | None) -> None:
        """These pods hold these devices, by UUID; None: that is not known."""
        self._holders = holders

    def trouble(self, sentence: str) -> None:
        """Why devices can't be read now; empty: they can."""
        self._trouble = sentence

    def next_look(self) -> float | None:
        """When some device should be read, sooner than usual."""
        return min(
            (each.machine.next_look for each in self._devices.values() if each.machine.next_look is not None),
            default=None,
        )

    def node(self, now: float) -> Node | None:
        """What is to be told of facts and health; None: nothing new."""
        holders = self._holders or {}
        devices = tuple(_device(each, now, holders.get(each.facts.uuid, ())) for each in self.devices)
        known = self._holders is not None
        found = Node(self._driver, self._cuda, devices, self._trouble, holders_known=known)
        told = self._told
        if told is not None and _without_ages(found) == _without_ages(told):
            return None
        if (
            told is not None
            and now - self._counters_at < COUNTERS_SECONDS
            and _without_counters(found) == _without_counters(told)
        ):
            return None
        self._told, self._counters_at = found, now
        return found

    def values(self) -> tuple[int, tuple[Values, ...]] | None:
        """The layout and the values that are to be told; None: nothing new."""
        devices = self.devices
        changed = False
        for each in devices:
            if worth_telling(each.sent, each.values, _mib(each.facts.memory_bytes)):
                each.sent = each.values
                changed = True
        layout = Node(devices=tuple(Device(each.facts.uuid, 0) for each in devices)).layout
        if not changed and layout == self._layout_told:
            return None
        self._layout_told = layout
        return layout, tuple(each.sent for each in devices)


def values_of(reading: GpuReading) -> Values:
    """The hot set. A device that does not answer has none."""
    if reading.answer is not Answer.ANSWERS:
        return NOTHING
    power, throttle = reading.power_mw, reading.throttle_reasons
    return Values(
        utilization=reading.utilization,
        memory_utilization=reading.memory_utilization,
        memory_used_mib=_mib(reading.memory_used),
        temperature=reading.temperature,
        memory_temperature=reading.memory_temperature,
        power=None if power is None else round(power / 1000),
        sm_clock=reading.sm_clock_mhz,
        memory_clock=reading.memory_clock_mhz,
        processes=reading.processes,
        throttle=None if throttle is None else throttle & ~_IDLE,
        mig_memory_used_mib=tuple(_mib(each) or 0 for each in reading.mig_memory_used),
    )


def _device(one: Watched, now: float, holders: tuple[Holder, ...]) -> Device:
    facts, reading, machine = one.facts, one.reading, one.machine
    return Device(
        uuid=facts.uuid,
        index=facts.index,
        name=facts.name,
        serial=facts.serial,
        pci_bus_id=facts.pci_bus_id,
        memory_bytes=facts.memory_bytes,
        compute_capability=facts.compute_capability,
        architecture=facts.architecture,
        mig_enabled=facts.mig_enabled,
        mig=tuple(
            Mig(each.uuid, each.profile, each.gpu_instance, each.compute_instance, each.memory_bytes)
            for each in facts.mig
        ),
        health=machine.verdict.health,
        reason=machine.verdict.reason,
        health_for=now - machine.verdict.since,
        counters=Counters(
            reading.ecc_corrected,
            reading.ecc_uncorrected,
            reading.ecc_corrected_aggregate,
            reading.ecc_uncorrected_aggregate,
            reading.remapped_corrected,
            reading.remapped_uncorrected,
            reading.pcie_replays,
            reading.nvlink_errors,
            machine.xids,
        ),
        last_xid=machine.last_xid,
        holders=holders,
    )


def _with(known: Watched, change: Callable[[HealthMachine], object]) -> Transition:
    before = known.machine.verdict
    change(known.machine)
    return Transition(known.facts, before, known.machine.verdict)


def _real(transitions: list[Transition]) -> tuple[Transition, ...]:
    return tuple(each for each in transitions if each.after.health is not each.before.health)


def _without_ages(node: Node) -> Node:
    return replace(node, devices=tuple(replace(each, health_for=0.0) for each in node.devices))


def _without_counters(node: Node) -> Node:
    plain = Counters()
    return replace(node, devices=tuple(replace(each, health_for=0.0, counters=plain) for each in node.devices))


def _mib(value: int | None) -> int | None:
    return None if value is None else value // MIB
