"""Secrets of a workspace, encrypted."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Secret(Timestamped, Base):
    """A name, and a value that changes from version to version."""

    __tablename__ = "secrets"
    __table_args__ = (UniqueConstraint("workspace_id", "scope", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    scope: Mapped[str] = mapped_column(server_default="")
    """Empty: the users' own; else the thing that it belongs to, which alone deals with it."""
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int]
    """The newest; numbers of versions that are gone are not used again."""


class SecretVersion(Base):
    """One value of a secret."""

    __tablename__ = "secret_versions"

    secret_id: Mapped[str] = mapped_column(
        ForeignKey("secrets.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(index=True)
    """Of the installation's key that it is encrypted with."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
