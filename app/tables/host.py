"""Machines that nodes may live on: as they were last seen, and as administrators want them."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


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


class HostSettings(Timestamped, Base):
    """What administrators want of a host; hosts without a row are as the provider tells."""

    __tablename__ = "host_settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    engine_url: Mapped[str | None]
    """Of an engine that was registered through the API; None: the operator's settings name it."""
    cores: Mapped[float | None]
    """No more than so many are handed out; None: all that it has. The same of memory and GPUs."""
    memory_bytes: Mapped[int | None]
    gpus: Mapped[int | None]
    draining_since: Mapped[datetime | None]
    """From then on it takes no nodes."""
    drain_reason: Mapped[str] = mapped_column(server_default="")
    drain_by: Mapped[datetime | None]
    """Runs that are there then are moved; None: they may go on to their end."""


class HostFailure(Base):
    """A host on which nodes could not be started: it is left alone for a while."""

    __tablename__ = "host_failures"

    name: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    """So often it was left alone since a node last started there."""
    error: Mapped[str]
    retry_at: Mapped[datetime]
