"""Users, groups, roles and their assignments; tokens have users and scopes.

Tokens that exist belong to the user `admin` from now on, whom the command line's tokens are for.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "c41d7e20a9b6"
down_revision: str | None = "e15ad196ee5f"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def _moments() -> tuple[sa.Column[datetime], sa.Column[datetime]]:
    now = sa.text("clock_timestamp()")
    kind = sa.DateTime(timezone=True)
    return (
        sa.Column("created_at", kind, server_default=now, nullable=False),
        sa.Column("updated_at", kind, server_default=now, nullable=False),
    )


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _users()
    _roles()
    op.execute("INSERT INTO users (id, name, is_admin) VALUES ('usr_admin', 'admin', true)")
    op.execute(
        "INSERT INTO roles (id, name) VALUES ('role_owner', 'owner'), "
        "('role_contributor', 'contributor'), ('role_data-scientist', 'data-scientist'), "
        "('role_reader', 'reader')"
    )
    op.add_column("tokens", sa.Column("user_id", sa.String(), nullable=True))
    op.execute("UPDATE tokens SET user_id = 'usr_admin'")
    op.alter_column("tokens", "user_id", nullable=False)
    op.create_foreign_key(
        op.f("fk_tokens_user_id_users"), "tokens", "users", ["user_id"], ["id"], ondelete="CASCADE"
    )
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"], unique=False)
    op.add_column("tokens", sa.Column("prefix", sa.String(), server_default="", nullable=False))
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("tokens", sa.Column("permissions", json, nullable=True))
    op.add_column("tokens", sa.Column("workspace_ids", json, nullable=True))
    op.add_column("tokens", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), server_default="user", nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), server_default="", nullable=False),
        sa.Column("email", sa.String(), server_default="", nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issuer", sa.String(), nullable=True),
        sa.Column("subject", sa.String(), nullable=True),
        *_moments(),
        sa.CheckConstraint("kind IN ('user', 'service_account')", name=op.f("ck_users_kind")),
        sa.CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name=op.f("ck_users_signed_in")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_users_issuer_subject")),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        *_moments(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("from_provider", sa.Boolean(), server_default="false", nullable=False),
        *_moments(),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
            name=op.f("fk_group_members_group_id_groups"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_group_members_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_group_members")),
    )
    op.create_index("ix_group_members_user_id", "group_members", ["user_id"], unique=False)


def _roles() -> None:
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.create_table(
        "roles",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("permissions", json, server_default="[]", nullable=False),
        *_moments(),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_roles_workspace_id_workspaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_roles_workspace_id_name")),
    )
    targets = {"workspace_id": "workspaces", "user_id": "users", "group_id": "groups"}
    op.create_table(
        "role_assignments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("role_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("group_id", sa.String(), nullable=True),
        *_moments(),
        sa.CheckConstraint(
            "(user_id IS NULL) <> (group_id IS NULL)", name=op.f("ck_role_assignments_subject")
        ),
        *(
            sa.ForeignKeyConstraint(
                [column],
                [f"{table}.id"],
                name=op.f(f"fk_role_assignments_{column}_{table}"),
                ondelete="CASCADE",
            )
            for column, table in targets.items()
        ),
        sa.ForeignKeyConstraint(
            ["role_id"], ["roles.id"], name=op.f("fk_role_assignments_role_id_roles")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_assignments")),
        sa.UniqueConstraint(
            "workspace_id", "role_id", "user_id", name="uq_role_assignments_workspace_id_user"
        ),
        sa.UniqueConstraint(
            "workspace_id", "role_id", "group_id", name="uq_role_assignments_workspace_id_group"
        ),
    )
    for column in ("user_id", "group_id", "role_id"):
        op.create_index(f"ix_role_assignments_{column}", "role_assignments", [column], unique=False)


def downgrade() -> None:
    """Take back; tokens lose their users and scopes, so what was narrow is revoked first."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "DELETE FROM tokens WHERE user_id <> 'usr_admin' OR permissions IS NOT NULL "
        "OR workspace_ids IS NOT NULL"
    )
    for column in ("last_used_at", "workspace_ids", "permissions", "prefix", "user_id"):
        op.drop_column("tokens", column)
    for table in ("role_assignments", "roles", "group_members", "groups", "users"):
        op.drop_table(table)
