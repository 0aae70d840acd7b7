"""The rows of all children, added up so that a change of one child costs one child.

    replace(child, its rows) -> the keys it had and has are marked -> `rows()` adds up these only

Counts could be subtracted, the best member and the worst age can't; so each key keeps its children's rows. Pure.
"""

from __future__ import annotations

from arbora.capacity.aggregate import RowKey, TreeRow, order_of, total_of


class Sums:
    """Rows by key, and by child."""

    __slots__ = ("_by_child", "_changed", "_groups", "_order", "_totals")

    def __init__(self) -> None:
        self._by_child: dict[str, tuple[TreeRow, ...]] = {}
        self._groups: dict[RowKey, dict[str, TreeRow]] = {}
        self._totals: dict[RowKey, TreeRow] = {}
        self._changed: set[RowKey] = set()
        self._order: list[RowKey] | None = []
        """Keys as rows are sorted; None: keys came or went since."""

    def replace(self, child: str, rows: tuple[TreeRow, ...]) -> bool:
        """Take over a child's rows, one for each key; () takes the child out. Returns whether they differ."""
        before = self._by_child.get(child, ())
        if before == rows:
            return False
        for row in before:
            self._groups[row.key].pop(child, None)
            self._changed.add(row.key)
        for row in rows:
            self._groups.setdefault(row.key, {})[child] = row
            self._changed.add(row.key)
        if rows:
            self._by_child[child] = rows
        else:
            self._by_child.pop(child, None)
        return True

    def rows(self) -> tuple[TreeRow, ...]:
        """One row for each key, sorted: what `add_up` makes of all rows of all children."""
        for key in self._changed:
            group = self._groups[key]
            if key not in self._totals or not group:
                self._order = None
            if group:
                self._totals[key] = total_of(tuple(group.values()))
            else:
                del self._groups[key]
                self._totals.pop(key, None)
        self._changed.clear()
        if self._order is None:
            self._order = sorted(self._totals, key=lambda key: order_of(self._totals[key]))
        return tuple(self._totals[key] for key in self._order)
