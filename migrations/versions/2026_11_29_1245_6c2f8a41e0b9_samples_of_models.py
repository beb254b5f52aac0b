"""Samples of model versions: an input and what the version answers to it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "6c2f8a41e0b9"
down_revision: str | None = "e07b4c6d2a91"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    document = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "model_samples",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model_version_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="Pending", nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("inputs", document, nullable=True),
        sa.Column("outputs", document, nullable=True),
        sa.Column("relative_tolerance", sa.Float(), server_default="0.001", nullable=False),
        sa.Column("absolute_tolerance", sa.Float(), server_default="0.00001", nullable=False),
        sa.Column("is_given", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("start", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("node_name", sa.String(), nullable=True),
        sa.Column("result", document, nullable=True),
        sa.Column("framework_version", sa.String(), server_default="", nullable=False),
        sa.Column("started_at", moment, nullable=True),
        sa.Column("captured_at", moment, nullable=True),
        sa.Column(
            "next_check_at",
            moment,
            server_default=sa.text("clock_timestamp()"),
            nullable=True,
        ),
        sa.Column("wake_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_expires_at", moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["images.id"],
            name=op.f("fk_model_samples_image_id_images"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_samples_model_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_samples")),
        sa.UniqueConstraint("model_version_id", name=op.f("uq_model_samples_model_version_id")),
        sa.UniqueConstraint("node_name", name=op.f("uq_model_samples_node_name")),
    )
    op.create_index(op.f("ix_model_samples_next_check_at"), "model_samples", ["next_check_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("model_samples")
