"""The runs of an experiment in the order of their start, for MLflow's searches."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "e15ad196ee5f"
down_revision: str | None = "a7d20c4e91f3"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.create_index(
        "ix_runs_experiment_id_start",
        "runs",
        [
            "experiment_id",
            sa.literal_column("coalesce(started_at, created_at) DESC"),
            sa.literal_column("id DESC"),
        ],
        unique=False,
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_index("ix_runs_experiment_id_start", table_name="runs")
