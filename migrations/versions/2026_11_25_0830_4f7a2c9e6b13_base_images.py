"""Base images by digest, Debian packages of images, the reference that a run was made of."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "4f7a2c9e6b13"
down_revision: str | None = "a4f09c3e7d12"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "base_images",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column(
            "resolved_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_base_images")),
    )
    op.add_column("images", sa.Column("resolved_to", sa.String(), nullable=True))
    op.add_column(
        "images",
        sa.Column(
            "system_packages",
            postgresql.JSONB(none_as_null=True),
            server_default="{}",
            nullable=False,
        ),
    )
    op.add_column("runs", sa.Column("image_reference", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("build_log_owner", sa.String(), nullable=True))
    op.add_column(
        "runs",
        sa.Column("build_log_start", sa.BigInteger(), server_default="0", nullable=False),
    )


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("runs", "build_log_start")
    op.drop_column("runs", "build_log_owner")
    op.drop_column("runs", "image_reference")
    op.drop_column("images", "system_packages")
    op.drop_column("images", "resolved_to")
    op.drop_table("base_images")
