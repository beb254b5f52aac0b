"""Addresses and ports of a run's nodes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "7c1d0a52be34"
down_revision: str | None = "c41d7be0a9f2"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("run_nodes", sa.Column("address", sa.String(), nullable=True))
    ports = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("run_nodes", sa.Column("ports", ports, server_default="[]", nullable=False))


def downgrade() -> None:
    """Undo."""
    op.drop_column("run_nodes", "ports")
    op.drop_column("run_nodes", "address")
