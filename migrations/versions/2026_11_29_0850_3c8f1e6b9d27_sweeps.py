"""Sweeps and their trials."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "3c8f1e6b9d27"
down_revision: str | None = "5c1e7a90d4b3"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
_NOW = sa.text("clock_timestamp()")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), server_default="", nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("tags", _JSON, server_default="{}", nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), server_default="Running", nullable=False),
        sa.Column("end_reason", sa.String(), server_default="", nullable=False),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("next_check_at", _TIME, server_default=_NOW, nullable=True),
        sa.Column("wake_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_expires_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_sweeps_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_sweeps_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.create_index("ix_sweeps_workspace_id_id", "sweeps", ["workspace_id", "id"])
    op.create_index(op.f("ix_sweeps_experiment_id"), "sweeps", ["experiment_id"])
    op.create_index(op.f("ix_sweeps_next_check_at"), "sweeps", ["next_check_at"])

    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("parameters", _JSON, nullable=False),
        sa.Column("outcome", sa.String(), server_default="", nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("intervals", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("judged_interval", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reported", _JSON, nullable=True),
        sa.Column("termination", _JSON, nullable=True),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["sweep_id"],
            ["sweeps.id"],
            name=op.f("fk_trials_sweep_id_sweeps"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["runs.id"],
            name=op.f("fk_trials_run_id_runs"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_trials")),
        sa.UniqueConstraint("run_id", name=op.f("uq_trials_run_id")),
    )
    op.create_index("ix_trials_sweep_id_value", "trials", ["sweep_id", "value", "number"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_table("trials")
    op.drop_table("sweeps")
