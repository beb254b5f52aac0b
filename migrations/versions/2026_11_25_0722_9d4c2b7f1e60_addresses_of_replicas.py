"""Where the API reaches replicas."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "9d4c2b7f1e60"
down_revision: str | None = "5e0b9d1c77a4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply; the replicas that serve now are processes of this machine."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("replicas", sa.Column("address", sa.String(), nullable=True))
    op.execute("UPDATE replicas SET address = '127.0.0.1' WHERE port IS NOT NULL")


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("replicas", "address")
