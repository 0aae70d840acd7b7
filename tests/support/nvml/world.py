"""The played node as a `World` of the contract of `GpuReader` (tests/contract/gpu_reader.py)."""

from __future__ import annotations

from arbora_agent.gpu.nvml import NvmlReader
from arbora_agent.gpu.port import GpuReader
from tests.support.nvml.node import UINT, PlayedNode, h100

GONE, LOST, RESET_REQUIRED = 9, 15, 16
"""nvmlReturn_t."""


class NvmlWorld:
    """One node; its readers are closed by `close`."""

    def __init__(self, node: PlayedNode) -> None:
        self.node = node
        self._idents: dict[str, str] = {}
        self._readers: list[GpuReader] = []

    def reader(self) -> GpuReader:
        one = NvmlReader()
        self._readers.append(one)
        return one

    def close(self) -> None:
        for each in self._readers:
            each.close()

    def add(self, uuid: str) -> None:
        index = len(self._idents)
        self._idents[uuid] = str(index)
        self.node.add(str(index), h100(uuid, index))

    def set(self, uuid: str, name: str, value: int | bool | None) -> None:
        self.node.put(self._idents[uuid], _values(name, value))

    def lose(self, uuid: str) -> None:
        self.node.set(self._idents[uuid], away=LOST)

    def require_reset(self, uuid: str) -> None:
        self.node.set(self._idents[uuid], away=RESET_REQUIRED)

    def repair(self, uuid: str) -> None:
        self.node.set(self._idents[uuid], away=None)

    def raise_xid(self, code: int, uuid: str) -> None:
        self.node.event(int(self._idents[uuid]), 0x8, code)

    def driver_gone(self) -> None:
        self.node.set("node", gone=GONE)

    def driver_back(self) -> None:
        self.node.set("node", gone=None)


def _values(name: str, value: int | bool | None) -> dict[str, object]:
    """What the library says for this value of a reading; None: every way to it is not supported."""
    field = None if value is None else f"{UINT}:{int(value)}"
    match name:
        case "utilization" | "temperature":
            return {name: value}
        case "memory_used":
            return {"memory.total": None} if value is None else {"memory.used": value}
        case "power_mw":
            return {"field.186": field, "power": value}
        case "ecc_uncorrected":
            return {"ecc.1.0": value}
        case "recovery_action":
            return {"field.230": field}
        case "remap_pending":
            return {"rows": None if value is None else f"1,0,{int(value)},0"}
        case _:
            raise AssertionError(f"{name} can't be set")
