"""What events and the audit log have in common: rows that sort by time, listed newest first, trimmed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from arbora_hub.store.record_ids import check_record_id
from arbora_hub.store.statements import Statements

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000


async def newest(
    statements: Statements, table: sa.Table, subject: str, page_size: int, page_token: str
) -> tuple[Sequence[Sequence[Any]], str]:
    """One page of rows, newest first, and the token of the next. The token is the id of the page's last row.

    subject: only rows about it or below it; empty: all. Raises InvalidInput for a wrong page_token.
    """
    size = min(page_size, LARGEST_PAGE) if page_size > 0 else DEFAULT_PAGE
    statement = sa.select(table).order_by(table.c.id.desc()).limit(size + 1)
    if page_token:
        statement = statement.where(table.c.id < check_record_id(page_token, "page_token"))
    segment = subject.rstrip("/")
    if segment:
        # a range and no LIKE: nothing to escape; "0" is the character after "/"
        below = sa.and_(table.c.subject >= f"{segment}/", table.c.subject < f"{segment}0")
        statement = statement.where(sa.or_(table.c.subject == segment, below))
    rows = await statements.all(statement)
    return rows[:size], str(rows[size - 1][0]) if len(rows) > size else ""


async def trim(statements: Statements, table: sa.Table, keep: int) -> int:
    """Remove all rows but the newest `keep`; gives the number removed."""
    ids = sa.select(table.c.id).order_by(table.c.id.desc())
    newest_removed = ids.limit(1).offset(max(keep, 0)).scalar_subquery()
    return await statements.run(sa.delete(table).where(table.c.id <= newest_removed))
