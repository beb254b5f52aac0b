"""API tokens: only their hashes are kept."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Token(Timestamped, Base):
    """A token of a person or program; the secret itself is shown once and never stored."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
