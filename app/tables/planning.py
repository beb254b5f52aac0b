"""The planner's own row, and what workspaces and users may have at a time."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped

ALL = "all"
"""Id of the one row: hosts are shared, so everything that shares them is planned together."""


class Planning(Reconciled, Base):
    """Whoever holds this row's lease plans; nobody else places, grows or shrinks anything."""

    __tablename__ = "planning"

    id: Mapped[str] = mapped_column(primary_key=True)
    planned_at: Mapped[datetime | None]
    took_seconds: Mapped[float] = mapped_column(server_default="0")
    """How long the last plan took to make."""


class Quota(Timestamped, Base):
    """The most that a workspace, or a user over all workspaces, may have at a time."""

    __tablename__ = "quotas"

    kind: Mapped[str] = mapped_column(primary_key=True)
    """workspace or user."""
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    """Id of the workspace, or what runs name as ``created_by``."""
    runs: Mapped[int | None]
    nodes: Mapped[int | None]
    cores: Mapped[int | None]
    gpus: Mapped[int | None]
    share: Mapped[float] = mapped_column(server_default="1")
    """Of two workspaces that wait, the one with twice the share gets twice as much."""
