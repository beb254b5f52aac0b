"""What trials cost, and why a sweep waits."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "a4d96f0c2e81"
down_revision: str | None = "4d9a7e2c5b18"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.add_column("sweeps", sa.Column("blockers", _JSON, server_default="[]", nullable=False))
    for name in ("reserved", "cost"):
        column = sa.Column(name, sa.Float(precision=53), server_default="0", nullable=False)
        op.add_column("trials", column)


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_column("trials", "cost")
    op.drop_column("trials", "reserved")
    op.drop_column("sweeps", "blockers")
