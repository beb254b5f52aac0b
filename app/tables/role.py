"""Roles, and who has them where."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Role(Timestamped, Base):
    """A named set of permissions: of one workspace, or built in (no workspace)."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str | None] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE")
    )
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    permissions: Mapped[list[Any]] = mapped_column(server_default="[]")


class RoleAssignment(Timestamped, Base):
    """That a user or a group has a role in a workspace."""

    __tablename__ = "role_assignments"
    __table_args__ = (
        UniqueConstraint(
            "workspace_id", "role_id", "user_id", name="uq_role_assignments_workspace_id_user"
        ),
        UniqueConstraint(
            "workspace_id", "role_id", "group_id", name="uq_role_assignments_workspace_id_group"
        ),
        CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="subject"),
        Index("ix_role_assignments_user_id", "user_id"),
        Index("ix_role_assignments_group_id", "group_id"),
        Index("ix_role_assignments_role_id", "role_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    role_id: Mapped[str] = mapped_column(ForeignKey("roles.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    group_id: Mapped[str | None] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"))
