"""What was found at the provider without a row that it belongs to."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class Leak(Base):
    """One thing that nobody owns; the row goes when the thing does."""

    __tablename__ = "leaks"

    kind: Mapped[str] = mapped_column(primary_key=True)
    """node, network or volume."""
    name: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    first_seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
