"""The tables, for the queries. `migrations/` makes them; a test proves that both are the same.

Written for SQLite and PostgreSQL: no type or clause that only one of them has.
Ids and names are compared byte by byte, whatever the database's collation is.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from arbora_hub.store.rows import TaintRow

Name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that is a key or is listed in its order."""


class Taints(sa.TypeDecorator[tuple[TaintRow, ...]]):
    """Taints as JSON: a list of [key, value, effect, added]."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[TaintRow, ...] | None, dialect: Dialect) -> list[list[Any]]:
        """To lists."""
        return [[one.key, one.value, one.effect, one.added] for one in value or ()]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[TaintRow, ...]:
        """From lists, so that rows compare equal to what was put."""
        return tuple(TaintRow(*one) for one in value)


metadata = sa.MetaData()

children = sa.Table(
    "children",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("cluster_uid", sa.Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("taints", Taints, nullable=False),
    sa.Column("cordoned", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("serial_current", sa.Text, nullable=False),
    sa.Column("serial_new", sa.Text, nullable=False),
    sa.Column("cert_not_after", sa.Double, nullable=False),
    sa.Column("session_epoch", sa.BigInteger, nullable=False),
    sa.Column("last_status", sa.LargeBinary, nullable=False),
    sa.Column("last_seen", sa.Double, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Index("children_by_cluster", "cluster_uid"),
)

join_tokens = sa.Table(
    "join_tokens",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("secret_hash", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("uses_left", sa.Integer, nullable=False),
    sa.Column("bound", sa.JSON, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

access = sa.Table(
    "access",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("id", Name, nullable=False),
    sa.Column("secret_hash", sa.Text, nullable=False),
    sa.Column("role", sa.Integer, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=True),
    sa.Column("member", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("id", name="access_id"),
)

workloads = sa.Table(
    "workloads",
    metadata,
    sa.Column("uid", Name, primary_key=True),
    sa.Column("name", Name, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("placement", sa.LargeBinary, nullable=False),
    sa.Column("manifests", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("deleting", sa.Boolean, nullable=False),
    sa.Column("from_parent", sa.Boolean, nullable=False),
    sa.Column("budget", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("name", name="workloads_name"),
)

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("uid", Name, sa.ForeignKey("workloads.uid", ondelete="CASCADE"), primary_key=True),
    sa.Column("child", Name, sa.ForeignKey("children.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("status", sa.LargeBinary, nullable=False),
    sa.Column("replicas", sa.BigInteger, nullable=False),
    sa.Column("copies", sa.BigInteger, nullable=False),
    sa.Index("assignments_by_child", "child"),
)

# Only ever added to at the end and read from there, so the rows live in the tree of the key itself.
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("severity", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("subject", Name, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", Name, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

# One row a minute and member: written once, read by member, removed by age.
gpu_history = sa.Table(
    "gpu_history",
    metadata,
    sa.Column("child", Name, sa.ForeignKey("children.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index("gpu_history_by_minute", "minute"),
)

authority = sa.Table(
    "authority",
    metadata,
    sa.Column("serial", Name, primary_key=True),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("cert_pem", sa.LargeBinary, nullable=False),
    sa.Column("key_pem", sa.LargeBinary, nullable=False),
    sa.Column("phase_since", sa.Double, nullable=False),
    sa.Column("not_before", sa.Double, nullable=False),
    sa.Column("not_after", sa.Double, nullable=False),
)

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("key", Name, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
