"""Metrics of runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class Metric(Base):
    """One logged value; (source, seq) makes a repeated delivery harmless."""

    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_run_id_name", "run_id", "name"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    """Which node or client sent it."""
    seq: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    type: Mapped[str]
    step: Mapped[int | None]
    epoch: Mapped[int | None]
    logged_at: Mapped[datetime]
    value: Mapped[float | None] = mapped_column(Float(53))
    data: Mapped[dict[str, Any] | None]
    """``{"value": …}`` for everything that is not a finite scalar."""
