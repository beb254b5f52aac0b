"""The audit log, which the database itself keeps append-only."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "e94a72c1d6f3"
down_revision: str | None = "d83f61b0c5e2"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    def text(name: str) -> sa.Column[str]:
        return sa.Column(name, sa.String(), server_default="", nullable=False)

    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.create_table(
        "audit_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor_kind", sa.String(), nullable=False),
        text("actor_id"),
        text("actor_name"),
        text("token_id"),
        sa.Column("operation", sa.String(), nullable=False),
        text("permission"),
        sa.Column("target", json, server_default="{}", nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        text("address"),
        text("request_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"], unique=False)
    op.create_index("ix_audit_events_workspace_id_id", "audit_events", ["workspace_id", "id"])
    op.create_index("ix_audit_events_actor_name_id", "audit_events", ["actor_name", "id"])
    op.execute(
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = '42501'; END $$"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_table("audit_events")
    op.execute("DROP FUNCTION refuse_audit_change()")
