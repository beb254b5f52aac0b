"""Starts of nodes that fail: counted, shown, and avoided; states of nodes are not stored."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "e07b4c6d2a91"
down_revision: str | None = "d7b1f3c8a915"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "host_failures",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host_failures")),
    )
    for table in ("clusters", "cluster_nodes"):
        op.add_column(
            table, sa.Column("failed_starts", sa.BigInteger(), server_default="0", nullable=False)
        )
    op.add_column(
        "clusters",
        sa.Column("start_error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text())),
    )
    op.add_column("cluster_nodes", sa.Column("unusable_because", sa.String(), nullable=True))
    op.drop_column("cluster_nodes", "state")


def downgrade() -> None:
    """Undo."""
    op.add_column(
        "cluster_nodes", sa.Column("state", sa.String(), server_default="idle", nullable=False)
    )
    op.execute("UPDATE cluster_nodes SET state = 'running' WHERE run_id IS NOT NULL")
    op.drop_column("cluster_nodes", "unusable_because")
    op.drop_column("clusters", "start_error")
    for table in ("clusters", "cluster_nodes"):
        op.drop_column(table, "failed_starts")
    op.drop_table("host_failures")
