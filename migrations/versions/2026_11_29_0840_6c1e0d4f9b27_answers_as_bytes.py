"""Kept answers are bytes with headers, may be encrypted, and may be still to come."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "6c1e0d4f9b27"
down_revision: str | None = "c4a9e7d1b602"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLE = "idempotency_keys"


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        _TABLE,
        sa.Column(
            "headers",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
    )
    op.add_column(_TABLE, sa.Column("key_id", sa.String(), server_default="", nullable=False))
    op.execute(
        "UPDATE idempotency_keys"
        " SET headers = jsonb_build_object('content-type', 'application/json')"
        " || CASE location WHEN '' THEN '{}' ELSE jsonb_build_object('location', location) END"
    )
    op.execute(
        f"ALTER TABLE {_TABLE} ALTER body TYPE bytea"
        " USING convert_to(body::text || chr(10), 'UTF8')"
    )
    op.execute(f"ALTER TABLE {_TABLE} ALTER body SET DEFAULT ''")
    op.alter_column(_TABLE, "status", nullable=True)
    op.drop_column(_TABLE, "location")


def downgrade() -> None:
    """Undo; answers that the older tables cannot hold are forgotten."""
    op.add_column(_TABLE, sa.Column("location", sa.String(), server_default="", nullable=False))
    op.execute("DELETE FROM idempotency_keys WHERE status IS NULL OR key_id <> ''")
    op.execute("UPDATE idempotency_keys SET location = coalesce(headers ->> 'location', '')")
    op.alter_column(_TABLE, "status", nullable=False)
    op.execute(f"ALTER TABLE {_TABLE} ALTER body DROP DEFAULT")
    op.execute(
        f"ALTER TABLE {_TABLE} ALTER body TYPE jsonb USING convert_from(body, 'UTF8')::jsonb"
    )
    op.drop_column(_TABLE, "key_id")
    op.drop_column(_TABLE, "headers")
