"""Queries on events."""

from __future__ import annotations

from collections.abc import Iterable

from arbora_hub.store import timeline
from arbora_hub.store.rows import EventRow, Page
from arbora_hub.store.statements import Statements, insert_new, values
from arbora_hub.store.tables import events


class SqlEvents:
    """`port.Events` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def list(self, *, subject: str = "", page_size: int = 0, page_token: str = "") -> Page[EventRow]:
        """See the port."""
        rows, token = await timeline.newest(self._statements, events, subject, page_size, page_token)
        return Page(tuple(EventRow(*row) for row in rows), token)

    async def add(self, row: EventRow) -> None:
        """See the port."""
        await self.add_many((row,))

    async def add_many(self, rows: Iterable[EventRow]) -> None:
        """See the port."""
        await self._statements.run_many(
            insert_new(self._statements.dialect, events), [values(row) for row in rows]
        )

    async def trim(self, keep: int) -> int:
        """See the port."""
        return await timeline.trim(self._statements, events, keep)
