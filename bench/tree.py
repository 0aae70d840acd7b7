"""The topic `tree`: hubs below hubs, as the table "Tree" in docs/benchmarks.md shows them.

    depth       root to member and back through 1, 3 and 5 hubs
    width       what 10 child hubs cost the root when they stand for 10,000 members, and for 100
    kill        a middle hub is killed again and again while workloads are placed

Every hub is a process of its own on loopback; each part begins with a fresh tree.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench import tree_depth, tree_kill, tree_width
from bench.report import Report

_PARTS = {
    "depth": tree_depth.run,
    "width": tree_width.run,
    "kill": tree_kill.run,
}


class Tree:
    """See bench.report.Topic."""

    name = "tree"
    parts = tuple(_PARTS)

    async def run(self, report: Report, parts: Sequence[str]) -> None:
        """See bench.report.Topic."""
        for part in parts:
            await _PARTS[part](report)


TOPIC = Tree()
