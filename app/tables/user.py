"""Who may ask: people, service accounts, and groups of them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class User(Timestamped, Base):
    """A person or a service account."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("issuer", "subject"),
        CheckConstraint("kind IN ('user', 'service_account')", name="kind"),
        CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="signed_in"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(server_default="user")
    name: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str] = mapped_column(server_default="")
    is_admin: Mapped[bool] = mapped_column(server_default="false")
    disabled_at: Mapped[datetime | None]
    issuer: Mapped[str | None]
    """The provider that this user signs in with, and its name for the user; NULL: none."""
    subject: Mapped[str | None]


class Group(Timestamped, Base):
    """Users that get roles together."""

    __tablename__ = "groups"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(server_default="")


class GroupMember(Timestamped, Base):
    """That a user is in a group."""

    __tablename__ = "group_members"
    __table_args__ = (Index("ix_group_members_user_id", "user_id"),)

    group_id: Mapped[str] = mapped_column(
        ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    from_provider: Mapped[bool] = mapped_column(server_default="false")
    """Whether the sign-in said so; then the next sign-in may take it back."""
