"""Which attempt of a trial was judged, when its values were logged, and where it was ended."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "7f3a1c9e5d20"
down_revision: str | None = "b04e7d92c5f1"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    judged = sa.Column("judged_attempt", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("trials", judged)
    op.add_column("trials", sa.Column("reported_at", _JSON, nullable=True))
    op.add_column("trials", sa.Column("ended_interval", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE trials SET ended_interval = CAST(termination ->> 'interval' AS bigint) "
        "WHERE termination IS NOT NULL"
    )
    # Those that go on were judged in the attempt that they are at.
    op.execute(
        "UPDATE trials SET judged_attempt = runs.attempt FROM runs "
        "WHERE runs.id = trials.run_id AND trials.outcome = ''"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_column("trials", "ended_interval")
    op.drop_column("trials", "reported_at")
    op.drop_column("trials", "judged_attempt")
