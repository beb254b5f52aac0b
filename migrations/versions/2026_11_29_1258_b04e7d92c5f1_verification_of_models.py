"""What verifying a model version has shown, and versions by their run."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "b04e7d92c5f1"
down_revision: str | None = "a4d96f0c2e81"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "model_versions",
        sa.Column("verification", postgresql.JSONB(none_as_null=True, astext_type=sa.Text())),
    )
    op.create_index(op.f("ix_model_versions_run_id"), "model_versions", ["run_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_model_versions_run_id"), "model_versions")
    op.drop_column("model_versions", "verification")
