"""Machines that nodes may live on, as they were last seen."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class SeenHost(Base):
    """One host of the provider; a worker writes what it sees, and nobody decides by it."""

    __tablename__ = "hosts"

    name: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    state: Mapped[str]
    """ready, drained, unreachable, down or unknown."""
    detail: Mapped[str]
    address: Mapped[str]
    cores: Mapped[float]
    memory_bytes: Mapped[int]
    gpus: Mapped[int]
    labels: Mapped[dict[str, str]]
    state_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
