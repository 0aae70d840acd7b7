"""Error codes from before the node agent was there: what the driver has written into the kernel's log.

    read() -> lines -> xids() -> codes with PCI addresses -> located() -> codes with UUIDs

A driver tells an event only to those who have registered for it, so a GPU that fell off the bus a minute before
the node agent started would look well but for this. Read once, at the start; later codes come as events.

`read` makes one system call and needs no file of /dev; everything else is pure. Lines from before the driver was
loaded the last time are left out: loading it is a reset. Source of the lines' form: NVIDIA's open kernel modules,
src/nvidia/src/kernel/gpu/rc/kernel_rc.c and arch/nvalloc/unix/src/osinit.c.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from arbora.errors import ArboraError
from arbora_agent.gpu.reading import GpuFacts, Xid

READ_ALL, SIZE_BUFFER = 3, 10
"""SYSLOG_ACTION_*, see syslog(2)."""
MAX_BYTES = 16 * 1024 * 1024
FALLEN_OFF = 79
"""The code for it."""
TOGETHER = 5.0
"""Seconds within which the driver says the same thing in other words."""
LOADING = "NVRM: loading NVIDIA UNIX"

_BDF = r"(?P<pci>(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"
_LINE = re.compile(r"(?:<\d+>)?(?:\[\s*(?P<stamp>\d+\.\d+)\])?(?:\[\s*[TC]\d+\])?\s*(?P<text>.*)")
_XID = re.compile(rf"NVRM: Xid \((?:PCI:)?{_BDF}(?P<rest>[^)]*)\): (?P<code>\d+)(?P<words>.*)")
_INSTANCE = re.compile(r"GPU[ -]I(?:-Id)?:\s*(\d+)")
_PID = re.compile(r"\bpid='?(\d+)")
_PROCESS = re.compile(r"\bname='?([^,']*)")
_GPU = re.compile(rf"NVRM: (?:The NVIDIA )?GPU (?:at )?(?:PCI:)?{_BDF}")
_FALLEN = "fallen off the bus"
_FALLEN_LINES = 3
"""Lines over which the driver writes this at most."""


class KernelLogUnreadable(ArboraError):
    """The kernel does not let us read its log."""

    reason = "KERNEL_LOG_UNREADABLE"


@dataclass(frozen=True, slots=True)
class Logged:
    """A code in the log. The log has addresses, no UUIDs, so that of `xid` is empty."""

    pci_bus_id: str
    """As in GpuFacts."""
    xid: Xid


def read_xids(gpus: Sequence[GpuFacts]) -> tuple[Xid, ...]:
    """What the log says of these devices now. Raises KernelLogUnreadable."""
    return located(xids(read(), time.clock_gettime(time.CLOCK_MONOTONIC)), gpus)


def read() -> list[str]:
    """The lines of the kernel's log. Raises KernelLogUnreadable."""
    kernel = ctypes.CDLL(None, use_errno=True)
    size = min(_syslog(kernel, SIZE_BUFFER, None, 0), MAX_BYTES)
    buffer = ctypes.create_string_buffer(size + 1)
    length = _syslog(kernel, READ_ALL, buffer, size)
    return buffer.raw[:length].decode("utf-8", "replace").splitlines()


def xids(lines: Iterable[str], uptime: float) -> tuple[Logged, ...]:
    """The codes since the driver was loaded, in the order of the log. uptime: seconds, of the log's own clock."""
    found: list[tuple[float, Logged]] = []
    fallen: list[tuple[float, Logged]] = []
    named, left = "", 0
    for line in lines:
        parts = _LINE.match(line)
        assert parts is not None  # it matches everything
        text = parts["text"]
        if text.startswith(LOADING):
            found, fallen, named = [], [], ""
            continue
        if "NVRM:" not in text:
            continue
        stamp = float(parts["stamp"] or 0.0)  # without a stamp it is as old as it can be
        age = max(0.0, uptime - stamp)
        if match := _XID.search(text):
            found.append((stamp, Logged(address(match["pci"]), _xid(match, age))))
            continue
        if match := _GPU.search(text):
            named, left = address(match["pci"]), _FALLEN_LINES
        left -= 1
        if _FALLEN in text and named and left >= 0:
            fallen.append((stamp, Logged(named, Xid(FALLEN_OFF, age=age))))
            named = ""
    for stamp, logged in fallen:
        same = (at for at, each in found if _same(each, logged))
        if all(abs(at - stamp) > TOGETHER for at in same):
            found.append((stamp, logged))
    return tuple(logged for _, logged in sorted(found, key=lambda each: each[0]))


def located(logged: Iterable[Logged], gpus: Iterable[GpuFacts]) -> tuple[Xid, ...]:
    """With the UUIDs of these devices. Codes of others, which this node agent may not see, are left out."""
    uuids = {address(each.pci_bus_id): each.uuid for each in gpus if each.pci_bus_id}
    return tuple(replace(each.xid, uuid=uuids[each.pci_bus_id]) for each in logged if each.pci_bus_id in uuids)


def address(text: str) -> str:
    """A PCI address, with or without domain and function, as NVML writes it: 00000000:3B:00.0."""
    *domain, bus, device = text.split(".", 1)[0].split(":")
    return f"{int(domain[0], 16) if domain else 0:08X}:{bus.upper()}:{device.upper()}.0"


def _xid(match: re.Match[str], age: float) -> Xid:
    instance = _INSTANCE.search(match["rest"])
    pid = _PID.search(match["words"])
    process = _PROCESS.search(match["words"])
    name = process[1].strip() if process else ""
    return Xid(
        int(match["code"]),
        age=age,
        gpu_instance=int(instance[1]) if instance else None,
        pid=int(pid[1]) if pid else None,
        process="" if name.startswith("<") else name,
    )


def _same(one: Logged, other: Logged) -> bool:
    return one.pci_bus_id == other.pci_bus_id and one.xid.code == other.xid.code


def _syslog(kernel: ctypes.CDLL, action: int, buffer: object, size: int) -> int:
    answer = int(kernel.klogctl(action, buffer, size))
    if answer < 0:
        raise KernelLogUnreadable(
            f"the kernel's log can't be read: {os.strerror(ctypes.get_errno())}",
            hint="Give the container the capability SYSLOG, or set kernel.dmesg_restrict=0 on the node.",
        )
    return answer
