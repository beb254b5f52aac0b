"""Uploads in pieces; when a workspace's bytes were last asked about or used."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "7be2f05d9a31"
down_revision: str | None = "4f7a2c9e6b13"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    used_at = sa.Column("used_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False)
    op.add_column("blobs", used_at)
    op.create_index("ix_blobs_sha256", "blobs", ["sha256"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("found_sha256", sa.String(), nullable=True),
        sa.Column("offset_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_uploads_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_workspace_id"), "uploads", ["workspace_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("uploads")
    op.drop_index("ix_blobs_sha256", table_name="blobs")
    op.drop_column("blobs", "used_at")
