"""Volumes with the content of inputs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "a7d20c4e91f3"
down_revision: str | None = "b0d5111d1e2b"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    now = sa.text("clock_timestamp()")
    op.create_table(
        "input_volumes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=True),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="Wanted", nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("next_check_at", sa.DateTime(timezone=True), server_default=now, nullable=True),
        sa.Column("wake_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["dataset_versions.id"],
            name=op.f("fk_input_volumes_version_id_dataset_versions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_input_volumes")),
        sa.UniqueConstraint("host", "fingerprint", name=op.f("uq_input_volumes_host_fingerprint")),
    )
    op.create_index(op.f("ix_input_volumes_next_check_at"), "input_volumes", ["next_check_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("input_volumes")
