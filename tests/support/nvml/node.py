"""A node as the played libnvidia-ml.so.1 reads it from its file (see nvml.c), and devices to put on it.

For: tests of the reader over NVIDIA's library. Every change is written at once, in one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

UINT, ULONG, ULONGLONG, SIGNED, SINT, USHORT = 1, 2, 3, 4, 5, 6
"""nvmlValueType_t."""
ALL_LINKS = 0xFFFFFFFF
GIB = 1024**3
EVENTS = 0x8 | 0x2 | 0x100 | 0x400 | 0x800 | 0x4000 | 0x8000 | 0x1
"""Those that a Hopper supports; the last one nobody here wants."""

DRIVER = {"driver": "570.86.10", "cuda": "12080"}


def h100(uuid: str, index: int = 0) -> dict[str, object]:
    """A healthy one at work, with four of its NVLinks."""
    return {
        "uuid": uuid,
        "name": "NVIDIA H100 80GB HBM3",
        "serial": f"165292{index:04d}",
        "minor": index,
        "pci": f"00000000:{0x3B + index:02X}:00.0",
        "capability": "9.0",
        "architecture": 9,
        "memory.total": 80 * GIB,
        "memory.used": 41 * GIB,
        "memory.reserved": GIB // 2,
        "pcie.generation.max": 5,
        "pcie.generation": 5,
        "pcie.width.max": 16,
        "pcie.width": 16,
        "pcie.replays": 2,
        "mig": 0,
        "utilization": 97,
        "utilization.memory": 40,
        "temperature": 61,
        "margin": 26,
        "power.limit": 700_000,
        "power": 655_000,
        "energy": 9_000_000_123,
        "clock.sm": 1980,
        "clock.memory": 2619,
        "throttle": 0x4,
        "ecc.0.0": 3,
        "ecc.1.0": 0,
        "ecc.0.1": 30,
        "ecc.1.1": 1,
        "sram.exceeded": 0,
        "rows": "1,0,0,0",
        "fabric.state": 3,
        "fabric.health": 1,
        "processes": 2,
        "events": EVENTS,
        **{f"link.{link}": 1 for link in range(4)},
        "field.82": f"{UINT}:70",
        "field.186": f"{UINT}:660000",
        "field.230": f"{UINT}:0",
        "field.270": f"{ULONGLONG}:5000000000",
        "field.271": f"{ULONGLONG}:0",
        "field.197": f"{ULONG}:123456789012",
        "field.198": f"{ULONGLONG}:98765",
        f"field.138@{ALL_LINKS}": f"{ULONGLONG}:1024",
        f"field.139@{ALL_LINKS}": f"{ULONGLONG}:2048",
        **{f"field.{each}": f"{ULONGLONG}:0" for each in (161, 162, 163)},
        **{f"field.{each}@{link}": f"{ULONGLONG}:0" for each in (161, 162, 163) for link in (1, 2, 3)},
    }


class PlayedNode:
    """The file of one node."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._node: dict[str, object] = dict(DRIVER)
        self._devices: dict[str, dict[str, object]] = {}
        self._events: list[str] = []
        self._write()

    def add(self, ident: str, values: Mapping[str, object]) -> None:
        """A device, such as `0`, or an instance of it, such as `0/1`."""
        self._devices[ident] = dict(values)
        self._write()

    def remove(self, ident: str) -> None:
        """Take it away."""
        del self._devices[ident]
        self._write()

    def set(self, ident: str, **values: object) -> None:
        """Change values of a device, or with `node` of the node. In names __ stands for a dot; None removes."""
        target = self._node if ident == "node" else self._devices[ident]
        for name, value in values.items():
            key = name.replace("__", ".")
            if value is None:
                target.pop(key, None)
            else:
                target[key] = value
        self._write()

    def put(self, ident: str, values: Mapping[str, object]) -> None:
        """As `set`, with the names as they are in the file."""
        self.set(ident, **dict(values))

    def fail(self, ident: str, function: str, code: int) -> None:
        """A function (or a field value, `field.82`) answers so from now on."""
        self.put(ident, {f"fail.{function}": code})

    def event(self, index: int, kind: int, data: int = 0, gpu_instance: int | None = None) -> None:
        """The driver reports something now."""
        instance = "" if gpu_instance is None else f" {gpu_instance}"
        self._events.append(f"event {index} {kind} {data}{instance}")
        self._write()

    def _write(self) -> None:
        lines = [_line("node", self._node)]
        lines += [_line(f"device {ident}", values) for ident, values in self._devices.items()]
        temporary = self._path.with_suffix(".new")
        temporary.write_text("\n".join([*lines, *self._events, ""]), encoding="utf-8")
        temporary.replace(self._path)


def _line(begin: str, values: Mapping[str, object]) -> str:
    return " ".join([begin, *(f'{key} "{value}"' for key, value in values.items())])
