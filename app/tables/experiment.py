"""Experiments: groups of runs."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Experiment(Timestamped, Base):
    """A named group of runs in a workspace."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    deleted_at: Mapped[datetime | None]
    """Since when it is hidden; it can be restored."""
