"""How many turns of a row never came back.

The code of the release before runs beside this schema: it leaves the counts as they are.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "2b8e5d0f7c14"
down_revision: str | None = "c91d4e7a0b63"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = (
    "batch_scorings",
    "dataset_registrations",
    "deployments",
    "images",
    "input_volumes",
    "model_captures",
    "model_samples",
    "model_versions",
    "planning",
    "runs",
    "sweeps",
)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in _TABLES:
        op.add_column(
            table,
            sa.Column("unfinished_turns", sa.BigInteger(), server_default="0", nullable=False),
        )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in _TABLES:
        op.drop_column(table, "unfinished_turns")
