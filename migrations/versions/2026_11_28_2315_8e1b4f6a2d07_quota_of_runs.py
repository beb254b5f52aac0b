"""How many runs of a workspace may be under way, and an index of those that are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "8e1b4f6a2d07"
down_revision: str | None = "5d2c8a1e7f40"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.add_column("workspaces", sa.Column("max_active_runs", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_runs_active",
        "runs",
        ["workspace_id"],
        unique=False,
        postgresql_where=sa.text(
            "kind = 'job' AND status NOT IN ('Completed', 'Failed', 'Canceled')"
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_index("ix_runs_active", table_name="runs")
    op.drop_column("workspaces", "max_active_runs")
