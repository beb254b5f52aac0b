"""Nonces of sign-ins, each good once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "d83f61b0c5e2"
down_revision: str | None = "8e1b4f6a2d07"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.create_table(
        "used_nonces",
        sa.Column("nonce_sha256", sa.String(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("nonce_sha256", name=op.f("pk_used_nonces")),
    )
    op.create_index(op.f("ix_used_nonces_created_at"), "used_nonces", ["created_at"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_table("used_nonces")
