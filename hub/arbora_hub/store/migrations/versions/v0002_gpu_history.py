"""Minutes of members' GPUs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "gpu_history",
        sa.Column("child", name, sa.ForeignKey("children.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("gpu_history_by_minute", "gpu_history", ["minute"])


def downgrade() -> None:
    op.drop_table("gpu_history")
