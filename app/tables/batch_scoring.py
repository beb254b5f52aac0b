"""Batch scorings: a model version over a dataset version."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class BatchScoring(Reconciled, Timestamped, Base):
    """One scoring; a run does it."""

    __tablename__ = "batch_scorings"
    __table_args__ = (Index("ix_batch_scorings_workspace_id_id", "workspace_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    run_id: Mapped[str | None] = mapped_column(
        ForeignKey("runs.id", ondelete="SET NULL"), unique=True
    )
    output_version_id: Mapped[str | None] = mapped_column(
        ForeignKey("dataset_versions.id", ondelete="SET NULL"), index=True
    )
    created_by: Mapped[str]
    spec: Mapped[dict[str, Any]]
    """The request as it was accepted, with the versions as numbers."""
    status: Mapped[str] = mapped_column(server_default="Running")
    """Running, CancelRequested, Completed, Failed or Canceled."""
    error: Mapped[dict[str, Any] | None]
    rows_scored: Mapped[int | None]
    """Once it is over; before that, what the nodes have logged is what is known."""
    rows_failed: Mapped[int | None]
    output_version: Mapped[int | None]
    """Number of the version that was made; it stays when the version is deleted."""
    ended_at: Mapped[datetime | None]
