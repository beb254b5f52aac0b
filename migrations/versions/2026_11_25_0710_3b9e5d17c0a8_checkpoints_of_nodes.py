"""What a run's nodes saved while they ran."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "3b9e5d17c0a8"
down_revision: str | None = "7c1d0a52be34"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    files = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("run_nodes", sa.Column("checkpoint", files, nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("run_nodes", "checkpoint")
