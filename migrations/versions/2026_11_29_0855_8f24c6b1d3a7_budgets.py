"""Budgets of workspaces, and what is kept of them for attempts.

The code of the release before runs beside this schema: expand first, contract a release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "8f24c6b1d3a7"
down_revision: str | None = "3c8f1e6b9d27"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
_MONEY = sa.Numeric(18, 6)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "budgets",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_budgets_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_budgets")),
    )
    op.add_column("charges", sa.Column("reserved", _MONEY, server_default="0", nullable=False))
    op.create_index(
        "ix_charges_open", "charges", ["run_id"], postgresql_where=sa.text("ended_at IS NULL")
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_charges_open", table_name="charges")
    op.drop_column("charges", "reserved")
    op.drop_table("budgets")
