"""The trace that a run belongs to, and when its environment was built."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "f3a6d18c5e92"
down_revision: str | None = "5e1b7c9d3a64"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("runs", sa.Column("traceparent", sa.String()))
    op.add_column("images", sa.Column("build_started_at", sa.DateTime(timezone=True)))
    op.add_column("images", sa.Column("build_ended_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Undo."""
    op.drop_column("images", "build_ended_at")
    op.drop_column("images", "build_started_at")
    op.drop_column("runs", "traceparent")
