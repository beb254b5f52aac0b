"""One plan for everything that shares the hosts; priorities, quotas, preemption."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "9d2f6a71c3e8"
down_revision: str | None = "e94a72c1d6f3"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "planning",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("planned_at", _MOMENT, nullable=True),
        sa.Column("took_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("next_check_at", _MOMENT, server_default=_NOW, nullable=True),
        sa.Column("wake_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_expires_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planning")),
    )
    op.create_index(op.f("ix_planning_next_check_at"), "planning", ["next_check_at"])
    op.execute("INSERT INTO planning (id) VALUES ('all')")
    op.create_table(
        "quotas",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=True),
        sa.Column("nodes", sa.BigInteger(), nullable=True),
        sa.Column("cores", sa.BigInteger(), nullable=True),
        sa.Column("gpus", sa.BigInteger(), nullable=True),
        sa.Column("share", sa.Float(), server_default="1", nullable=False),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("kind", "owner_id", name=op.f("pk_quotas")),
    )
    op.add_column(
        "runs", sa.Column("priority", sa.BigInteger(), server_default="50", nullable=False)
    )
    op.add_column("attempts", sa.Column("preempted_for", sa.String(), nullable=True))
    op.add_column(
        "clusters",
        sa.Column("node_placement", sa.String(), server_default="spread", nullable=False),
    )
    op.add_column(
        "clusters", sa.Column("is_enabled", sa.Boolean(), server_default="true", nullable=False)
    )
    op.drop_index(op.f("ix_clusters_next_check_at"), table_name="clusters")
    for column in ("next_check_at", "wake_seq", "lease_token", "lease_expires_at"):
        op.drop_column("clusters", column)


def downgrade() -> None:
    """Undo."""
    op.add_column("clusters", sa.Column("lease_expires_at", _MOMENT, nullable=True))
    op.add_column("clusters", sa.Column("lease_token", sa.String(), nullable=True))
    op.add_column(
        "clusters", sa.Column("wake_seq", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column(
        "clusters", sa.Column("next_check_at", _MOMENT, server_default=_NOW, nullable=True)
    )
    op.create_index(op.f("ix_clusters_next_check_at"), "clusters", ["next_check_at"])
    op.drop_column("clusters", "is_enabled")
    op.drop_column("clusters", "node_placement")
    op.drop_column("attempts", "preempted_for")
    op.drop_column("runs", "priority")
    op.drop_table("quotas")
    op.drop_table("planning")
