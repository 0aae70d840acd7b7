"""Accesses that open the way into one member."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("access", sa.Column("member", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM access WHERE member <> ''"))
    with op.batch_alter_table("access") as table:
        table.drop_column("member")
