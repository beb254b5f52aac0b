"""API tokens: only their hashes are kept."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Token(Timestamped, Base):
    """A token of a person or program; the secret itself is shown once and never stored."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(server_default="")
    """The first characters of the secret, so that its owner can tell which one it is."""
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    permissions: Mapped[list[Any] | None]
    """Only these of the user's permissions; NULL: all."""
    workspace_ids: Mapped[list[Any] | None]
    """Only in these workspaces; NULL: everywhere."""
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the minute."""
