"""Prices of nodes, and what attempts held at them.

The code of the release before runs beside this schema: expand first, contract a release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "3c91d7a5e204"
down_revision: str | None = "5b7e2c9d4f16"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
_MONEY = sa.Numeric(18, 6)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "prices",
        sa.Column("vm_size", sa.String(), nullable=False),
        sa.Column("valid_from", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("price_per_hour", _MONEY, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("vm_size", "valid_from", name=op.f("pk_prices")),
    )
    op.create_table(
        "charges",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("experiment_name", sa.String(), nullable=False),
        sa.Column("cluster_name", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("vm_size", sa.String(), nullable=False),
        sa.Column("node_count", sa.BigInteger(), nullable=False),
        sa.Column("price_per_node_hour", _MONEY, nullable=False),
        sa.Column("began_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_charges_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "attempt", name=op.f("pk_charges")),
    )
    op.create_index("ix_charges_workspace_id_ended_at", "charges", ["workspace_id", "ended_at"])
    op.create_index(op.f("ix_charges_created_by"), "charges", ["created_by"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("charges")
    op.drop_table("prices")
