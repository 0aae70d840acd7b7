"""Children, join tokens, access, workloads, assignments, events, audit, authority, settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "children",
        sa.Column("name", name, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("cluster_uid", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("taints", sa.JSON, nullable=False),
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
    )
    op.create_index("children_by_cluster", "children", ["cluster_uid"])
    op.create_table(
        "join_tokens",
        sa.Column("id", name, primary_key=True),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("uses_left", sa.Integer, nullable=False),
        sa.Column("bound", sa.JSON, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_table(
        "access",
        sa.Column("name", name, primary_key=True),
        sa.Column("id", name, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("role", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=True),
        sa.UniqueConstraint("id", name="access_id"),
    )
    op.create_table(
        "workloads",
        sa.Column("uid", name, primary_key=True),
        sa.Column("name", name, nullable=False),
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
    op.create_table(
        "assignments",
        sa.Column("uid", name, sa.ForeignKey("workloads.uid", ondelete="CASCADE"), primary_key=True),
        sa.Column("child", name, sa.ForeignKey("children.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("status", sa.LargeBinary, nullable=False),
        sa.Column("replicas", sa.BigInteger, nullable=False),
        sa.Column("copies", sa.BigInteger, nullable=False),
    )
    op.create_index("assignments_by_child", "assignments", ["child"])
    op.create_table(
        "events",
        sa.Column("id", name, primary_key=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("subject", name, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit",
        sa.Column("id", name, primary_key=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", name, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "authority",
        sa.Column("serial", name, primary_key=True),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("cert_pem", sa.LargeBinary, nullable=False),
        sa.Column("key_pem", sa.LargeBinary, nullable=False),
        sa.Column("phase_since", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("not_after", sa.Double, nullable=False),
    )
    op.create_table(
        "settings",
        sa.Column("key", name, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "settings",
        "authority",
        "audit",
        "events",
        "assignments",
        "workloads",
        "access",
        "join_tokens",
        "children",
    ):
        op.drop_table(table)
