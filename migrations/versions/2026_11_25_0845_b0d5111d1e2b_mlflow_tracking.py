"""MLflow tracking

The code of the release before runs beside this schema: expand first, contract a release later.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "b0d5111d1e2b"
down_revision: str | None = "6b1e8f20d7c4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.create_table(
        "logged_models",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("experiment_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model_type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column(
            "tags", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "params", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_logged_models_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_logged_models_run_id_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_logged_models_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logged_models")),
    )
    op.create_index(
        op.f("ix_logged_models_experiment_id"), "logged_models", ["experiment_id"], unique=False
    )
    op.create_index(op.f("ix_logged_models_run_id"), "logged_models", ["run_id"], unique=False)
    op.create_table(
        "run_datasets",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("source_type", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("schema", sa.String(), nullable=True),
        sa.Column("profile", sa.String(), nullable=True),
        sa.Column(
            "tags", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_datasets_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "name", "digest", name=op.f("pk_run_datasets")),
    )
    op.create_table(
        "run_params",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_params_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_run_params")),
    )
    op.create_table(
        "logged_model_metrics",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("logged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dataset_name", sa.String(), nullable=False),
        sa.Column("dataset_digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["logged_models.id"],
            name=op.f("fk_logged_model_metrics_model_id_logged_models"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", "seq", name=op.f("pk_logged_model_metrics")),
    )
    op.create_index(
        "ix_logged_model_metrics_model_id_name",
        "logged_model_metrics",
        ["model_id", "name"],
        unique=False,
    )
    op.create_table(
        "model_aliases",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["models.id"],
            name=op.f("fk_model_aliases_model_id_models"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_aliases_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", "alias", name=op.f("pk_model_aliases")),
    )
    op.create_index(
        op.f("ix_model_aliases_version_id"), "model_aliases", ["version_id"], unique=False
    )
    op.create_table(
        "run_models",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("is_output", sa.Boolean(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["logged_models.id"],
            name=op.f("fk_run_models_model_id_logged_models"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_models_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "model_id", "is_output", name=op.f("pk_run_models")),
    )
    op.add_column("experiments", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "model_versions", sa.Column("stage", sa.String(), server_default="None", nullable=False)
    )
    op.add_column(
        "model_versions", sa.Column("source", sa.String(), server_default="", nullable=False)
    )
    op.add_column(
        "model_versions", sa.Column("source_run_id", sa.String(), server_default="", nullable=False)
    )
    op.add_column(
        "model_versions", sa.Column("run_link", sa.String(), server_default="", nullable=False)
    )
    op.add_column(
        "model_versions",
        sa.Column("logged_model_id", sa.String(), server_default="", nullable=False),
    )
    op.add_column(
        "model_versions",
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
    )
    op.create_index(
        op.f("ix_model_versions_source_run_id"), "model_versions", ["source_run_id"], unique=False
    )
    op.add_column(
        "models", sa.Column("description", sa.String(), server_default="", nullable=False)
    )
    op.add_column(
        "models",
        sa.Column(
            "tags",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
    )
    op.add_column("runs", sa.Column("kind", sa.String(), server_default="job", nullable=False))
    op.add_column("runs", sa.Column("creator_run_id", sa.String(), nullable=True))
    op.add_column("runs", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_runs_creator_run_id"), "runs", ["creator_run_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_runs_creator_run_id_runs"),
        "runs",
        "runs",
        ["creator_run_id"],
        ["id"],
        ondelete="SET NULL",
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.drop_constraint(op.f("fk_runs_creator_run_id_runs"), "runs", type_="foreignkey")
    op.drop_index(op.f("ix_runs_creator_run_id"), table_name="runs")
    op.drop_column("runs", "deleted_at")
    op.drop_column("runs", "creator_run_id")
    op.drop_column("runs", "kind")
    op.drop_column("models", "tags")
    op.drop_column("models", "description")
    op.drop_index(op.f("ix_model_versions_source_run_id"), table_name="model_versions")
    op.drop_column("model_versions", "updated_at")
    op.drop_column("model_versions", "logged_model_id")
    op.drop_column("model_versions", "run_link")
    op.drop_column("model_versions", "source_run_id")
    op.drop_column("model_versions", "source")
    op.drop_column("model_versions", "stage")
    op.drop_column("experiments", "deleted_at")
    op.drop_table("run_models")
    op.drop_index(op.f("ix_model_aliases_version_id"), table_name="model_aliases")
    op.drop_table("model_aliases")
    op.drop_index("ix_logged_model_metrics_model_id_name", table_name="logged_model_metrics")
    op.drop_table("logged_model_metrics")
    op.drop_table("run_params")
    op.drop_table("run_datasets")
    op.drop_index(op.f("ix_logged_models_run_id"), table_name="logged_models")
    op.drop_index(op.f("ix_logged_models_experiment_id"), table_name="logged_models")
    op.drop_table("logged_models")
