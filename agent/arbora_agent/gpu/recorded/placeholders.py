"""Numbers that tell one machine from all others, replaced in what a recording holds.

    GPU-5a1c...   GPU-00000000-0000-4000-8000-000000000003    the device's index, in hexadecimal
    MIG-77e0...   MIG-00000000-0000-4000-8000-000000000000    counted
    serial, pid, process                                      left out

The same number gets the same placeholder wherever it stands, in the driver's words too, so that a recording can
be played as if nothing had been replaced. Decides nothing about what is recorded.
"""

from __future__ import annotations

import dataclasses
import re

from arbora_agent.gpu.reading import Changed, GpuEvent, GpuFacts, GpuReading, NodeFacts, Xid

_KINDS = {"GPU": "GPU-00000000-0000-4000-8000-{:012x}", "MIG": "MIG-00000000-0000-4000-8000-{:012x}"}
_UUID = r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""As the driver writes one that was not listed."""
_UNLISTED = 1000
"""First number of devices that were never listed, beyond all indexes."""
_LONG = 6
"""Characters of a serial number that is looked for in texts; a shorter one would be found in anything."""


class Placeholders:
    """Of one recording. Remembers what it has replaced."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._taken: dict[str, set[int]] = {kind: set() for kind in _KINDS}
        self._serials: set[str] = set()

    def facts(self, facts: NodeFacts) -> NodeFacts:
        """The devices of the node."""
        return dataclasses.replace(facts, gpus=tuple(self._gpu(each) for each in facts.gpus))

    def uuid(self, uuid: str) -> str:
        """Of a device or an instance; empty stays empty."""
        if not uuid:
            return ""
        if uuid.startswith("MIG"):
            return self._known.get(uuid) or self._new("MIG", uuid, 0)
        return self._known.get(uuid) or self._new("GPU", uuid, _UNLISTED)

    def reading(self, reading: GpuReading) -> GpuReading:
        """One device at one moment."""
        return dataclasses.replace(reading, uuid=self.uuid(reading.uuid), problem=self.text(reading.problem))

    def event(self, event: GpuEvent) -> GpuEvent:
        """What the driver reported."""
        if isinstance(event, Changed):
            return Changed(self.uuid(event.uuid))
        return Xid(event.code, self.uuid(event.uuid), event.age, event.gpu_instance)

    def text(self, text: str) -> str:
        """The driver's words."""
        listed = sorted(map(re.escape, self._known), key=len, reverse=True)
        replaced = re.sub("|".join([*listed, _UUID]), lambda found: self.uuid(found[0]), text)
        for serial in self._serials:
            replaced = replaced.replace(serial, "...")
        return replaced

    def _gpu(self, gpu: GpuFacts) -> GpuFacts:
        if len(gpu.serial) >= _LONG:
            self._serials.add(gpu.serial)
        if gpu.uuid not in self._known:
            self._new("GPU", gpu.uuid, gpu.index)
        mig = tuple(dataclasses.replace(each, uuid=self.uuid(each.uuid)) for each in gpu.mig)
        return dataclasses.replace(gpu, uuid=self._known[gpu.uuid], serial="", mig=mig)

    def _new(self, kind: str, uuid: str, wanted: int) -> str:
        """A number that no other one has: `wanted`, or the next that is free."""
        taken = self._taken[kind]
        while wanted in taken:
            wanted += 1
        taken.add(wanted)
        self._known[uuid] = placeholder = _KINDS[kind].format(wanted)
        return placeholder
