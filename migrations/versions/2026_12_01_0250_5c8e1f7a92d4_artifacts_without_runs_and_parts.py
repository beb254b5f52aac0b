"""Artifacts without runs, and uploads in parts."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5c8e1f7a92d4"
down_revision: str | None = "2b8e5d0f7c14"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.alter_column("logged_models", "run_id", nullable=True)
    op.create_table(
        "logged_model_files",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["logged_models.id"],
            name=op.f("fk_logged_model_files_model_id_logged_models"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", "path", name=op.f("pk_logged_model_files")),
    )
    op.create_table(
        "workspace_artifacts",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_workspace_artifacts_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "path", name=op.f("pk_workspace_artifacts")),
    )
    op.create_table(
        "part_uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("part_count", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("found_sha256", sa.String(), nullable=True),
        sa.Column("completed_at", _TIME, nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_part_uploads_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_part_uploads")),
    )
    op.create_index(op.f("ix_part_uploads_workspace_id"), "part_uploads", ["workspace_id"])
    op.create_index(op.f("ix_part_uploads_caller"), "part_uploads", ["caller"])


def downgrade() -> None:
    """Take back; models of no run go."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("part_uploads")
    op.drop_table("workspace_artifacts")
    op.drop_table("logged_model_files")
    op.execute("DELETE FROM logged_models WHERE run_id IS NULL")
    op.alter_column("logged_models", "run_id", nullable=False)
