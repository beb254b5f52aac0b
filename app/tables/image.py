"""Images: built environments, shared by everything with the same specification."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class Image(Reconciled, Timestamped, Base):
    """A built environment; ``id`` is the hash of its canonical specification."""

    __tablename__ = "images"

    id: Mapped[str] = mapped_column(primary_key=True)
    spec: Mapped[dict[str, Any]]
    """The canonical, resolved specification that the hash is taken over."""
    state: Mapped[str] = mapped_column(server_default="Queued")
    """Queued, Building, Ready, Failed, Deleted or Resolved."""
    resolved_to: Mapped[str | None]
    """The image with the base's digest in its hash, as the base's tag was last resolved."""
    error: Mapped[dict[str, Any] | None]
    python: Mapped[str | None]
    """Path of the interpreter: on this machine, or within the container image."""
    reference: Mapped[str | None]
    """The container image: repository@digest in a registry, else its id in the engine."""
    lock: Mapped[str | None]
    """The resolved requirements, pinned."""
    packages: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    system_packages: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    """Debian packages that were asked for, and their versions."""
    size_bytes: Mapped[int | None]
    build_seconds: Mapped[float | None]
    build_started_at: Mapped[datetime | None]
    build_ended_at: Mapped[datetime | None]
    build_number: Mapped[int] = mapped_column(server_default="0")
    """How many builds were begun; the log of build n is attempt n of the image's log."""
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class WorkspaceImage(Base):
    """Which workspaces use an image."""

    __tablename__ = "workspace_images"

    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    image_id: Mapped[str] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
