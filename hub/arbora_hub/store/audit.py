"""Queries on the audit log."""

from __future__ import annotations

from collections.abc import Iterable

from arbora_hub.store import timeline
from arbora_hub.store.port import AUDIT_FLOOR
from arbora_hub.store.rows import AuditRow, Page
from arbora_hub.store.statements import Statements, insert_new, values
from arbora_hub.store.tables import audit


class SqlAudit:
    """`port.Audit` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def list(self, *, subject: str = "", page_size: int = 0, page_token: str = "") -> Page[AuditRow]:
        """See the port."""
        rows, token = await timeline.newest(self._statements, audit, subject, page_size, page_token)
        return Page(tuple(AuditRow(*row) for row in rows), token)

    async def add(self, row: AuditRow) -> None:
        """See the port."""
        await self.add_many((row,))

    async def add_many(self, rows: Iterable[AuditRow]) -> None:
        """See the port."""
        statement = insert_new(self._statements.dialect, audit)
        await self._statements.run_many(statement, [values(row) for row in rows])

    async def trim(self, keep: int) -> int:
        """See the port."""
        return await timeline.trim(self._statements, audit, max(keep, AUDIT_FLOOR))
