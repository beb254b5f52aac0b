"""Workspaces."""

from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Workspace(Timestamped, Base):
    """The top of everything a team owns."""

    __tablename__ = "workspaces"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    log_retention_days: Mapped[int | None]
    """Logs of runs are kept for so many days after the run's end, those of deployments after they
    were printed; NULL: for ever."""
    max_active_runs: Mapped[int | None]
    """So many of its runs may be waiting or running; NULL: as many as the installation allows."""
