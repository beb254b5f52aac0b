"""Limits of deployments: body, queue, time."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "c4a9e7d1b602"
down_revision: str | None = "3c91d7a5e204"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("deployments", sa.Column("limits", JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Undo."""
    op.drop_column("deployments", "limits")
