"""Autoscaling, traffic and rollback of deployments."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "d7b1f3c8a915"
down_revision: str | None = "8f24c6b1d3a7"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("deployments", sa.Column("autoscale", JSONB(), nullable=True))
    op.add_column("deployments", sa.Column("busy_at", _MOMENT, server_default=_NOW, nullable=False))
    op.add_column("deployments", sa.Column("traffic", JSONB(), server_default="{}", nullable=False))
    op.add_column("deployments", sa.Column("previous", JSONB(), nullable=True))
    op.create_table(
        "deployment_loads",
        sa.Column("deployment_id", sa.String(), nullable=False),
        sa.Column("router_id", sa.String(), nullable=False),
        sa.Column("concurrency", sa.Float(), nullable=False),
        sa.Column("noted_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=op.f("fk_deployment_loads_deployment_id_deployments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("deployment_id", "router_id", name=op.f("pk_deployment_loads")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("deployment_loads")
    for column in ("previous", "traffic", "busy_at", "autoscale"):
        op.drop_column("deployments", column)
