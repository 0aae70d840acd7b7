"""What is known of everything below this hub, kept so that a change of one child costs one child.

    replace(child) -> its branch; its rows are read when `rows` or `line` ask -> `Sums`
    `refence`, `refence_lines` -> who stands in two places -> left out of sums, counts and lines

The rules stand in `subtree.py` and `fencing.py`; this remembers their results. No I/O, no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from arbora.capacity.aggregate import MAX_ROWS, TreeRow, limited
from arbora.v1 import member_pb2
from arbora_hub.tree.fencing import NOTHING, Fence, Fenced, fence, fence_lines
from arbora_hub.tree.subtree import Branch, own_line, passed_line, read_sketch, rows_of, status_below
from arbora_hub.tree.sums import Sums

_Read = dict[int, tuple[member_pb2.Sketch, tuple[TreeRow, ...]]]
"""What sketches were read as, by the message's identity; the message is kept so that nothing else gets it."""


class Below:
    """All branches of this hub."""

    def __init__(self) -> None:
        self.branches: dict[str, Branch] = {}
        """By name of the child."""
        self.fence: Fence = NOTHING
        self._by_ids: Fence = NOTHING
        self._by_lines: Fence = NOTHING
        self._rows: dict[str, tuple[TreeRow, ...]] = {}
        self._read: dict[str, _Read] = {}
        self._unsummed: set[str] = set()
        self._sums = Sums()
        self._standing: Counter[str] = Counter()
        """Id of a cluster or hub -> children that are it or name it."""
        self._twice: set[str] = set()
        """Ids that stand in more than one place."""

    @property
    def size(self) -> int:
        """Lines that there are: children and those below child hubs."""
        return len(self.branches) + sum(len(one.lines) for one in self.branches.values())

    @property
    def fenced(self) -> frozenset[Fenced]:
        """The places that do not count now."""
        return self.fence.fenced

    def replace(self, name: str, branch: Branch | None) -> bool:
        """Take over a child; None: it is gone. Returns whether `refence` must be called."""
        before = self.branches.pop(name, None)
        self._count(before, -1)
        self._count(branch, 1)
        self._rows.pop(name, None)
        self._unsummed.add(name)
        if branch is None:
            self._read.pop(name, None)
        else:
            self.branches[name] = branch
        return _identity(before) != _identity(branch)

    def refence(self) -> None:
        """Decide anew which children are left out. Costs nothing while every id stands in one place."""
        by_ids = fence(self.branches.values()) if self._twice else NOTHING
        if by_ids != self._by_ids:
            self._by_ids = by_ids
            self._refenced()

    def refence_lines(self) -> frozenset[str]:
        """Decide anew which lines are left out; returns the paths for which that changed."""
        before = self._by_lines.paths
        self._by_lines = fence_lines(self.branches.values())
        self._refenced()
        return before ^ self._by_lines.paths

    def rows(self, limit: int = MAX_ROWS) -> tuple[TreeRow, ...]:
        """Rows of everything below, at most `limit`."""
        for name in self._unsummed:
            left_out = name not in self.branches or name in self.fence.children
            self._sums.replace(name, () if left_out else self.rows_of(name))
        self._unsummed.clear()
        return limited(self._sums.rows(), limit)

    def rows_of(self, name: str) -> tuple[TreeRow, ...]:
        """The rows of one child."""
        rows = self._rows.get(name)
        if rows is None:
            self._rows[name] = rows = self._rows_anew(self.branches[name])
        return rows

    def status(self, hub_id: str, placement_epoch: int, *, lines: bool) -> member_pb2.SubtreeStatus:
        """Counts of everything below."""
        return status_below(self.branches.values(), hub_id, placement_epoch, lines=lines, fence=self.fence)

    def line(self, path: str) -> member_pb2.MemberLine | None:
        """The line of a relative path; None if there is none, or it is left out."""
        name, _, rest = path.partition("/")
        branch = self.branches.get(name)
        if branch is None:
            return None
        if rest:
            return passed_line(branch, rest, self.fence)
        return own_line(branch, self.rows_of(name))

    def paths(self, under: str = "") -> Iterator[str]:
        """Relative paths of all lines; under: only this one and those below it."""
        name = under.partition("/")[0]
        for child in (name,) if name else tuple(self.branches):
            if child not in self.branches:
                continue
            for path in (child, *(f"{child}/{rest}" for rest in self.branches[child].lines)):
                if not under or path == under or path.startswith(f"{under}/"):
                    yield path

    def _count(self, branch: Branch | None, change: int) -> None:
        if branch is None:
            return
        ids = {branch.cluster_uid, *(branch.subtree.hubs if branch.subtree is not None else ())} - {""}
        for uid in ids:
            self._standing[uid] += change
            if self._standing[uid] > 1:
                self._twice.add(uid)
            else:
                self._twice.discard(uid)
                if not self._standing[uid]:
                    del self._standing[uid]

    def _refenced(self) -> None:
        before = self.fence.children
        self.fence = self._by_ids | self._by_lines
        self._unsummed |= before ^ self.fence.children

    def _rows_anew(self, branch: Branch) -> tuple[TreeRow, ...]:
        """A child hub's sketch of 256 rows is read once, however often another one of it changes."""
        before = self._read.get(branch.name, {})
        after: _Read = {}

        def read(kind: str, message: member_pb2.Sketch) -> tuple[TreeRow, ...]:
            known = before.get(id(message)) or (message, read_sketch(kind, message))
            after[id(message)] = known
            return known[1]

        # Labels inherited from above are not added: the parent knows them, and adds them itself.
        rows = rows_of(branch, {}, read)
        self._read[branch.name] = after
        return rows


def _identity(branch: Branch | None) -> object:
    """What fencing looks at, besides lines."""
    if branch is None:
        return None
    below = branch.subtree
    return (
        branch.liveness,
        branch.session_epoch,
        branch.cluster_uid,
        (below.placement_epoch, tuple(below.hubs)) if below is not None else None,
    )
