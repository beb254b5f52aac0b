"""What was found at the provider without an owner."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5e0b9d1c77a4"
down_revision: str | None = "3b9e5d17c0a8"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "leaks",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_leaks")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("leaks")
