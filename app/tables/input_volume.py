"""Volumes on hosts of nodes that hold the content of dataset versions."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class InputVolume(Reconciled, Timestamped, Base):
    """One content on one host, for all runs that mount it there; the row exists before the thing.

    Runs of other workspaces share it only by having the same content pinned themselves.
    """

    __tablename__ = "input_volumes"
    __table_args__ = (UniqueConstraint("host", "fingerprint"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Also the volume's name at the provider."""
    host: Mapped[str]
    fingerprint: Mapped[str]
    """Hash over the paths and SHA-256 of all files, as dataset versions have it."""
    version_id: Mapped[str | None] = mapped_column(
        ForeignKey("dataset_versions.id", ondelete="SET NULL")
    )
    """A version that has this content."""
    image: Mapped[str]
    """A container image by which the engine can be given files."""
    size_bytes: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="Wanted")
    """Wanted, Ready, Failed or Leaving."""
    error: Mapped[str | None]
    """Why it is Failed, or not yet Ready."""
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
