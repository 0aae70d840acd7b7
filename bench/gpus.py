"""The topic `gpus`: what devices say, from a node to the hub, as the table "GPUs" in docs/benchmarks.md shows it.

    node        what the agent of a node with eight GPUs costs there, and what it sends
    faults      from a driver's word to a hub that no longer counts the device as free
    member      what a member with 512 GPUs costs its hub

There are no devices here: recordings that are made by hand are played (bench/gpu_recordings.py), and NVIDIA's
library is played by the one that the tests compile.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import gpu_faults, gpu_member, gpu_node
from bench.report import Report

_PARTS = {
    "node": gpu_node.run,
    "faults": gpu_faults.run,
    "member": gpu_member.run,
}


class Gpus:
    """See bench.report.Topic."""

    name = "gpus"
    parts = tuple(_PARTS)

    async def run(self, report: Report, parts: Sequence[str]) -> None:
        """See bench.report.Topic."""
        for part in parts:
            await _PARTS[part](report)


TOPIC = Gpus()
