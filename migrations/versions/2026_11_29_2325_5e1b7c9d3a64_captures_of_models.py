"""Captures of model versions have a table of their own."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "5e1b7c9d3a64"
down_revision: str | None = "7f3a1c9e5d20"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_DOCUMENT = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
_MOMENT = sa.DateTime(timezone=True)


def _reconciled() -> list[sa.Column[object]]:
    now = sa.text("clock_timestamp()")
    return [
        sa.Column("next_check_at", _MOMENT, server_default=now, nullable=True),
        sa.Column("wake_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_expires_at", _MOMENT, nullable=True),
    ]


def _of_a_node() -> list[sa.Column[object]]:
    return [
        sa.Column("image_id", sa.String(), nullable=True),
        sa.Column("start", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("node_name", sa.String(), nullable=True),
        sa.Column("result", _DOCUMENT, nullable=True),
        sa.Column("started_at", _MOMENT, nullable=True),
    ]


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "model_captures",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model_version_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="Pending", nullable=False),
        sa.Column("error", _DOCUMENT, nullable=True),
        sa.Column("runtime", sa.String(), server_default="", nullable=False),
        *_of_a_node(),
        sa.Column("ended_at", _MOMENT, nullable=True),
        *_reconciled(),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["images.id"],
            name=op.f("fk_model_captures_image_id_images"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_captures_model_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_captures")),
        sa.UniqueConstraint("model_version_id", name=op.f("uq_model_captures_model_version_id")),
        sa.UniqueConstraint("node_name", name=op.f("uq_model_captures_node_name")),
    )
    op.create_index(op.f("ix_model_captures_next_check_at"), "model_captures", ["next_check_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("model_captures")
