"""Summaries and namespaces of metrics; times, nodes and retention of logs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "a4f7c93d2b10"
down_revision: str | None = "1f0c6a7d9b25"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_LAST = """
    SELECT DISTINCT ON (run_id, attempt, name)
        run_id, attempt, name, type, value, data, step, logged_at
    FROM (
        SELECT *, bool_and(step IS NOT NULL) OVER (PARTITION BY run_id, attempt, name) AS has_steps
        FROM metrics
    ) AS stepped
    ORDER BY run_id, attempt, name, CASE WHEN has_steps THEN step END DESC, logged_at DESC,
        source DESC, seq DESC
"""
_FILL = f"""
    INSERT INTO metric_summaries (
        run_id, attempt, namespace, name, workspace_id, type, count,
        min, min_step, max, max_step, last, last_data, last_step, last_at
    )
    SELECT per.run_id, per.attempt, '', per.name, runs.workspace_id, last.type, per.count,
        per.min, per.min_step, per.max, per.max_step,
        last.value, last.data, last.step, last.logged_at
    FROM (
        SELECT run_id, attempt, name, count(*) AS count, min(value) AS min, max(value) AS max,
            (array_agg(step ORDER BY value ASC NULLS LAST, step))[1] AS min_step,
            (array_agg(step ORDER BY value DESC NULLS LAST, step))[1] AS max_step
        FROM metrics GROUP BY run_id, attempt, name
    ) AS per
    JOIN ({_LAST}) AS last USING (run_id, attempt, name)
    JOIN runs ON runs.id = per.run_id
"""  # noqa: S608  (no value from outside)


def upgrade() -> None:
    """Apply; values that are there are summed up."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("metrics", sa.Column("namespace", sa.String(), server_default="", nullable=False))
    op.drop_index("ix_metrics_run_id_name", table_name="metrics")
    columns = ["run_id", "attempt", "namespace", "name", "logged_at"]
    op.create_index("ix_metrics_points", "metrics", columns)
    op.create_table(
        "metric_summaries",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("min", sa.Float(53), nullable=True),
        sa.Column("min_step", sa.BigInteger(), nullable=True),
        sa.Column("max", sa.Float(53), nullable=True),
        sa.Column("max_step", sa.BigInteger(), nullable=True),
        sa.Column("last", sa.Float(53), nullable=True),
        sa.Column("last_data", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["runs.id"],
            name=op.f("fk_metric_summaries_run_id_runs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "attempt", "namespace", "name", name=op.f("pk_metric_summaries")
        ),
    )
    columns = ["workspace_id", "namespace", "name", "last", "run_id"]
    op.create_index("ix_metric_summaries_last", "metric_summaries", columns)
    op.execute(_FILL)
    op.add_column("log_streams", sa.Column("times_sha256", sa.String(), nullable=True))
    op.add_column("log_streams", sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("log_streams", sa.Column("node_index", sa.BigInteger(), nullable=True))
    op.add_column(
        "log_streams", sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False)
    )
    op.create_unique_constraint(op.f("uq_log_streams_id"), "log_streams", ["id"])
    op.add_column("log_chunks", sa.Column("times", sa.LargeBinary(), nullable=True))
    op.add_column("workspaces", sa.Column("log_retention_days", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("workspaces", "log_retention_days")
    op.drop_column("log_chunks", "times")
    op.drop_constraint(op.f("uq_log_streams_id"), "log_streams", type_="unique")
    for name in ("id", "node_index", "expired_at", "times_sha256"):
        op.drop_column("log_streams", name)
    op.drop_table("metric_summaries")
    op.drop_index("ix_metrics_points", table_name="metrics")
    op.drop_column("metrics", "namespace")
    op.create_index("ix_metrics_run_id_name", "metrics", ["run_id", "name"])
