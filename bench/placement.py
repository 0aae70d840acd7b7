"""The topic `placement`: every figure of the table "Placement" in docs/benchmarks.md.

    decisions   one decision over columns in memory, without a hub
    submitting  a submission is decided, stored and shown; and how many of them in a second
    bursting    more jobs than there is room for: exactly as many are placed as fit
    freeing     a GPU becomes free, and the job that waits for it is sent

`decisions` runs in this process; each other part has a hub of its own with its defaults, on loopback.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import bursting, freeing, placement_decisions, submitting
from bench.report import Report

_PARTS = {
    "decisions": placement_decisions.run,
    "submitting": submitting.run,
    "bursting": bursting.run,
    "freeing": freeing.run,
}


class Placement:
    """See bench.report.Topic."""

    name = "placement"
    parts = tuple(_PARTS)

    async def run(self, report: Report, parts: Sequence[str]) -> None:
        """See bench.report.Topic."""
        for part in parts:
            await _PARTS[part](report)


TOPIC = Placement()
