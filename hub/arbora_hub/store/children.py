"""Queries on children."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from arbora.errors import NotFound
from arbora_hub.store.rows import ChildRow
from arbora_hub.store.statements import Statements, upsert, values
from arbora_hub.store.tables import children

_NAME: sa.BindParameter[str] = sa.bindparam("of_name")
_GET = sa.select(children).where(children.c.name == _NAME)
_BY_CLUSTER = (
    sa.select(children)
    .where(children.c.cluster_uid == sa.bindparam("of_cluster"), children.c.state == "active")
    .order_by(children.c.name)
    .limit(1)
)
_LIST = sa.select(children).order_by(children.c.name)
_DELETE = sa.delete(children).where(children.c.name == _NAME)
_BUMP = (
    sa.update(children)
    .where(children.c.name == _NAME)
    .values(session_epoch=children.c.session_epoch + 1)
    .returning(children.c.session_epoch)
)
_SET_SERIALS = (
    sa.update(children)
    .where(children.c.name == _NAME)
    .values(
        serial_current=sa.bindparam("current"),
        serial_new=sa.bindparam("new"),
        cert_not_after=sa.bindparam("not_after"),
    )
)
_SAVE_LAST = (
    sa.update(children)
    .where(children.c.name == _NAME)
    .values(last_status=sa.bindparam("status"), last_seen=sa.bindparam("seen"))
)


class SqlChildren:
    """`port.Children` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, name: str) -> ChildRow | None:
        """See the port."""
        row = await self._statements.first(_GET, {"of_name": name})
        return None if row is None else ChildRow(*row)

    async def by_cluster(self, cluster_uid: str) -> ChildRow | None:
        """See the port."""
        if not cluster_uid:
            return None
        row = await self._statements.first(_BY_CLUSTER, {"of_cluster": cluster_uid})
        return None if row is None else ChildRow(*row)

    async def list(self) -> tuple[ChildRow, ...]:
        """See the port."""
        return tuple(ChildRow(*row) for row in await self._statements.all(_LIST))

    async def put(self, row: ChildRow) -> None:
        """See the port."""
        await self._statements.run(upsert(self._statements.dialect, children), values(row))

    async def delete(self, name: str) -> bool:
        """See the port."""
        return await self._statements.run(_DELETE, {"of_name": name}) > 0

    async def bump_epoch(self, name: str) -> int:
        """See the port."""
        row = await self._statements.first(_BUMP, {"of_name": name})
        if row is None:
            raise _no_child(name)
        return int(row[0])

    async def set_serials(self, name: str, current: str, new: str, cert_not_after: float) -> None:
        """See the port."""
        parameters = {"of_name": name, "current": current, "new": new, "not_after": cert_not_after}
        if not await self._statements.run(_SET_SERIALS, parameters):
            raise _no_child(name)

    async def save_last(self, statuses: Mapping[str, bytes], now: float) -> None:
        """See the port."""
        await self._statements.run_many(
            _SAVE_LAST, [{"of_name": name, "status": status, "seen": now} for name, status in statuses.items()]
        )


def _no_child(name: str) -> NotFound:
    return NotFound(f"there is no child {name}", hint="See `arbora members list` for those that are.")
