"""The topic `foundation`: every figure of the table "What it must show" in docs/benchmarks.md.

    joining   a new member can be given work
    idle      a thousand idle members: memory, CPU, bytes on the wire; then the hub is killed and all come back
    applying  a workload reaches a real API server, and its status comes back; the agent's memory

Each part has a fresh hub with its defaults (SQLite with synchronous=FULL, 10 s heartbeat) on loopback.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import applying, idle, joining
from bench.report import Report

_PARTS = {"joining": joining.run, "idle": idle.run, "applying": applying.run}


class Foundation:
    """See bench.report.Topic."""

    name = "foundation"
    parts = tuple(_PARTS)

    async def run(self, report: Report, parts: Sequence[str]) -> None:
        """See bench.report.Topic."""
        for part in parts:
            await _PARTS[part](report)


TOPIC = Foundation()
