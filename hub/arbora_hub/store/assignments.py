"""Queries on assignments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from arbora_hub.store.rows import AssignmentRow
from arbora_hub.store.statements import Statements, upsert, values
from arbora_hub.store.tables import assignments

_UID: sa.BindParameter[str] = sa.bindparam("of_uid")
_CHILD: sa.BindParameter[str] = sa.bindparam("of_child")
_KEY = sa.and_(assignments.c.uid == _UID, assignments.c.child == _CHILD)
_GET = sa.select(assignments).where(_KEY)
_LIST = sa.select(assignments).order_by(assignments.c.uid, assignments.c.child)
_SAVE_STATUS = sa.update(assignments).where(_KEY).values(status=sa.bindparam("new_status"))
_DELETE = sa.delete(assignments).where(_KEY)


class SqlAssignments:
    """`port.Assignments` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, uid: str, child: str) -> AssignmentRow | None:
        """See the port."""
        row = await self._statements.first(_GET, {"of_uid": uid, "of_child": child})
        return None if row is None else AssignmentRow(*row)

    async def list(self, *, uid: str | None = None, child: str | None = None) -> tuple[AssignmentRow, ...]:
        """See the port."""
        statement = _LIST
        if uid is not None:
            statement = statement.where(assignments.c.uid == uid)
        if child is not None:
            statement = statement.where(assignments.c.child == child)
        return tuple(AssignmentRow(*row) for row in await self._statements.all(statement))

    async def put(self, row: AssignmentRow) -> None:
        """See the port."""
        await self.put_many((row,))

    async def put_many(self, rows: Iterable[AssignmentRow]) -> None:
        """See the port."""
        statement = upsert(self._statements.dialect, assignments, keep=("status",))
        await self._statements.run_many(statement, [values(row) for row in rows])

    async def save_statuses(self, statuses: Mapping[tuple[str, str], bytes]) -> None:
        """See the port."""
        await self._statements.run_many(
            _SAVE_STATUS,
            [
                {"of_uid": uid, "of_child": child, "new_status": status}
                for (uid, child), status in statuses.items()
            ],
        )

    async def delete(self, uid: str, child: str) -> bool:
        """See the port."""
        return await self._statements.run(_DELETE, {"of_uid": uid, "of_child": child}) > 0

    async def delete_many(self, keys: Iterable[tuple[str, str]]) -> None:
        """See the port."""
        await self._statements.run_many(_DELETE, [{"of_uid": uid, "of_child": child} for uid, child in keys])
