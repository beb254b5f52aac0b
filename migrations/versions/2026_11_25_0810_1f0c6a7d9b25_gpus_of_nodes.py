"""Which GPUs a node has."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "1f0c6a7d9b25"
down_revision: str | None = "9d4c2b7f1e60"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply; so far no node had any."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "cluster_nodes",
        sa.Column(
            "gpu_ids", postgresql.JSONB(none_as_null=True), server_default="[]", nullable=False
        ),
    )


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("cluster_nodes", "gpu_ids")
