"""Batch scorings, and what dataset versions were made from."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "4d9a7e2c5b18"
down_revision: str | None = "6c2f8a41e0b9"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
_NOW = sa.text("clock_timestamp()")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "dataset_versions", sa.Column("lineage", _JSON, server_default="{}", nullable=False)
    )
    op.create_table(
        "batch_scorings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("output_version_id", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("status", sa.String(), server_default="Running", nullable=False),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("rows_scored", sa.BigInteger(), nullable=True),
        sa.Column("rows_failed", sa.BigInteger(), nullable=True),
        sa.Column("output_version", sa.BigInteger(), nullable=True),
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
            name=op.f("fk_batch_scorings_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["runs.id"],
            name=op.f("fk_batch_scorings_run_id_runs"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["output_version_id"],
            ["dataset_versions.id"],
            name=op.f("fk_batch_scorings_output_version_id_dataset_versions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_scorings")),
        sa.UniqueConstraint("run_id", name=op.f("uq_batch_scorings_run_id")),
    )
    op.create_index("ix_batch_scorings_workspace_id_id", "batch_scorings", ["workspace_id", "id"])
    for column in ("output_version_id", "next_check_at"):
        op.create_index(op.f(f"ix_batch_scorings_{column}"), "batch_scorings", [column])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("batch_scorings")
    op.drop_column("dataset_versions", "lineage")
