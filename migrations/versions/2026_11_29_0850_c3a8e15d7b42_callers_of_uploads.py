"""Which token, or run, began an upload."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "c3a8e15d7b42"
down_revision: str | None = "6c1e0d4f9b27"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("uploads", sa.Column("caller", sa.String(), server_default="", nullable=False))
    op.create_index(op.f("ix_uploads_caller"), "uploads", ["caller"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_uploads_caller"), table_name="uploads")
    op.drop_column("uploads", "caller")
