"""When the keys of a deployment were made."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5b7e2c9d4f16"
down_revision: str | None = "a7f2c95e3b18"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_COLUMNS = ("primary_key_at", "secondary_key_at")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in _COLUMNS:
        op.add_column(
            "deployments",
            sa.Column(
                name,
                sa.DateTime(timezone=True),
                server_default=sa.text("clock_timestamp()"),
                nullable=False,
            ),
        )
    op.execute("UPDATE deployments SET primary_key_at = created_at, secondary_key_at = created_at")


def downgrade() -> None:
    """Undo."""
    for name in _COLUMNS:
        op.drop_column("deployments", name)
