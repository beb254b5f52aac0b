"""Where logs begin whose oldest bytes were kept long enough."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "c91d4e7a0b63"
down_revision: str | None = "7be1d05c9a42"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "log_streams",
        sa.Column("first_byte", sa.BigInteger(), server_default="0", nullable=False),
    )
    # What is there already is as old as this migration: a default that differs from row to row
    # would have the whole table written anew.
    op.add_column(
        "log_chunks", sa.Column("created_at", _TIME, server_default=sa.func.now(), nullable=False)
    )
    op.alter_column("log_chunks", "created_at", server_default=sa.func.clock_timestamp())


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("log_chunks", "created_at")
    op.drop_column("log_streams", "first_byte")
