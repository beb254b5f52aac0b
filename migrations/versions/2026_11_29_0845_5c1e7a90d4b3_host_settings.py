"""What administrators want of hosts; why an attempt gives up its nodes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5c1e7a90d4b3"
down_revision: str | None = "c3a8e15d7b42"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "host_settings",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("engine_url", sa.String(), nullable=True),
        sa.Column("cores", sa.Float(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("gpus", sa.BigInteger(), nullable=True),
        sa.Column("draining_since", _MOMENT, nullable=True),
        sa.Column("drain_reason", sa.String(), server_default="", nullable=False),
        sa.Column("drain_by", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host_settings")),
    )
    op.add_column("attempts", sa.Column("gives_way_because", sa.String(), nullable=True))
    op.execute(
        "UPDATE attempts SET gives_way_because = 'Its nodes were needed by run ' || preempted_for"
        " || ', which has a higher priority.' WHERE preempted_for IS NOT NULL"
    )
    op.drop_column("attempts", "preempted_for")


def downgrade() -> None:
    """Undo."""
    op.add_column("attempts", sa.Column("preempted_for", sa.String(), nullable=True))
    op.execute("UPDATE attempts SET preempted_for = 'another' WHERE gives_way_because IS NOT NULL")
    op.drop_column("attempts", "gives_way_because")
    op.drop_table("host_settings")
