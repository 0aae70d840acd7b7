"""Everything below this hub as one list of lines: its own children, and what each child hub answers to the same.

All child hubs are asked at once, and each has the same few seconds; one that is lost or slow costs a gap that
says so, and then the lines that it last sent by itself are shown, as present as it is. A child hub is believed
only about what lies below it. Nothing is kept here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from arbora.errors import ArboraError, Exhausted
from arbora.identity.names import Path
from arbora.v1 import member_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.tree.calls import Calls
from arbora_hub.tree.subtree import branch_of, own_line, passed_line, rows_of

log = structlog.get_logger(__name__)

GET_TREE = "/arbora.v1.MemberService/GetTree"
ANSWER_SECONDS = 3.0
"""How long a child hub has; it asks those below it within that time."""
MAX_BYTES = 4 * 1024 * 1024
"""Of one answer: some 20,000 members."""


class Gathering:
    """Asks what is below."""

    def __init__(self, inventory: Inventory, calls: Calls, clock: Callable[[], float] = time.time) -> None:
        """clock: wall time in seconds."""
        self._inventory = inventory
        self._calls = calls
        self._clock = clock

    async def gather(self, depth: int) -> pb.GetTreeResponse:
        """The tree below this hub, in the order of paths. depth: levels; 0: all.

        Raises Exhausted if it is too large for one answer.
        """
        children = list(self._inventory)
        tree = pb.GetTreeResponse(lines=[self._line(child) for child in children])
        if depth != 1:
            async with asyncio.TaskGroup() as tasks:
                asked = [
                    tasks.create_task(self._below(child, max(0, depth - 1)))
                    for child in children
                    if child.row.kind == "hub"
                ]
            for task in asked:
                tree.MergeFrom(task.result())
        tree.lines.sort(key=lambda one: one.path.split("/"))
        tree.gaps.sort(key=lambda one: one.path.split("/"))
        size = tree.ByteSize()
        if size > MAX_BYTES:
            raise Exhausted(
                f"the tree below {self._inventory.own_path} has {len(tree.lines)} entries in {size} bytes, "
                f"and an answer has {MAX_BYTES} at most",
                hint="Ask for less: a hub further down, or fewer levels (--depth).",
            )
        return tree

    async def _below(self, child: Child, depth: int) -> pb.GetTreeResponse:
        """What the child hub says, or a gap."""
        path = self._inventory.path_of(child)
        why = self._calls.absence(child)
        if not why:
            try:
                answer = await self._calls.forward(
                    child.name,
                    GET_TREE,
                    pb.GetTreeRequest(depth=depth),
                    pb.GetTreeResponse,
                    seconds=ANSWER_SECONDS,
                )
            except ArboraError as error:
                why = str(error)
            else:
                return _only_below(answer, path)
        return self._last_said(child, depth, why)

    def _line(self, child: Child) -> pb.MemberLine:
        """The child itself; of what is not present, nothing is free."""
        branch = branch_of(child, asyncio.get_running_loop().time(), self._clock())
        line = own_line(branch, rows_of(branch, {}))
        line.path = str(self._inventory.path_of(child))
        return line

    def _last_said(self, child: Child, depth: int, why: str) -> pb.GetTreeResponse:
        """A gap, and what the hub sent by itself before."""
        path = self._inventory.path_of(child)
        branch = branch_of(child, asyncio.get_running_loop().time(), self._clock())
        tree = pb.GetTreeResponse()
        for below in branch.lines:
            line = passed_line(branch, below) if not depth or below.count("/") < depth else None
            if line is not None:
                line.path = f"{path}/{below}"
                tree.lines.append(line)
        told = f"{why}; shown is what it said last" if tree.lines else why
        tree.gaps.add(path=str(path), message=f"{told}.")
        return tree


def _only_below(answer: pb.GetTreeResponse, path: Path) -> pb.GetTreeResponse:
    """`answer` without what does not lie below `path`."""
    # Whole labels: the slash is part of what is compared.
    inside, own = f"{path}/", str(path)
    kept = pb.GetTreeResponse(
        lines=[one for one in answer.lines if one.path.startswith(inside)],
        gaps=[one for one in answer.gaps if one.path == own or one.path.startswith(inside)],
    )
    left_out = len(answer.lines) + len(answer.gaps) - len(kept.lines) - len(kept.gaps)
    if left_out:
        log.warning("a hub speaks of what is not below it", hub=own, left_out=left_out)
    return kept
