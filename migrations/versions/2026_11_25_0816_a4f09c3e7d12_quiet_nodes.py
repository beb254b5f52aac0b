"""For how long nothing has been heard of the scripts of a run's nodes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "a4f09c3e7d12"
down_revision: str | None = "a4f7c93d2b10"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    quiet = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("run_nodes", sa.Column("quiet", quiet, nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("run_nodes", "quiet")
