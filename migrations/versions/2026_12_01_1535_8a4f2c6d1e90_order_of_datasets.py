"""In which order a run's datasets were noted."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "8a4f2c6d1e90"
down_revision: str | None = "5c8e1f7a92d4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply; those of before, and of an earlier release beside this one, come first."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "run_datasets", sa.Column("place", sa.BigInteger(), server_default="0", nullable=False)
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("run_datasets", "place")
