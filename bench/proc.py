"""What the kernel says of a process and of its connections: memory, CPU time, bytes on the wire.

Reads /proc and asks `ss` (iproute2) for the TCP_INFO of each socket. Must not start or stop anything else.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_COUNTER = re.compile(r"\b(bytes_sent|bytes_received|segs_out|segs_in):(\d+)")

IP_AND_TCP = 40
"""Bytes of an IPv4 and a TCP header without options."""
TIMESTAMPS = 12
"""Bytes of TCP's timestamp option, on every segment where it was agreed on."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in kB (1024 bytes)."""

    rss: int
    anonymous: int
    """Of it what belongs to no file: heap and stacks."""


def memory(pid: int) -> Memory:
    """Of a process now. Raises OSError if it is gone."""
    fields = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.split()
    return Memory(int(fields["VmRSS"][0]), int(fields["RssAnon"][0]))


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads since the process started; in steps of 10 ms."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass(frozen=True, slots=True)
class Traffic:
    """The sum over all connections of one listening port, as the listener sees it."""

    connections: int
    sent: int
    """TCP payload in bytes; so is the next. Here this is TLS records."""
    received: int
    sent_on_wire: int
    """With the IP and TCP headers of every segment, pure acknowledgements too; so is the next."""
    received_on_wire: int


def ss_is_here() -> bool:
    """Whether traffic can be measured."""
    return shutil.which("ss") is not None


async def traffic(port: int) -> Traffic:
    """Of the established connections to `port` of this machine, since each of them began."""
    command = ("ss", "-tinH", "state", "established", f"( sport = :{port} )")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return parse_ss(printed.decode())


def parse_ss(text: str) -> Traffic:
    """From the output of `ss -tinH`: a line for the addresses of a connection, an indented one with its facts."""
    connections = sent = received = sent_on_wire = received_on_wire = 0
    for line in text.splitlines():
        if not line[:1].isspace():
            continue
        counters = {name: int(value) for name, value in _COUNTER.findall(line)}
        header = IP_AND_TCP + (TIMESTAMPS if "ts" in line.split() else 0)
        connections += 1
        sent += counters.get("bytes_sent", 0)
        received += counters.get("bytes_received", 0)
        sent_on_wire += counters.get("bytes_sent", 0) + header * counters.get("segs_out", 0)
        received_on_wire += counters.get("bytes_received", 0) + header * counters.get("segs_in", 0)
    return Traffic(connections, sent, received, sent_on_wire, received_on_wire)
