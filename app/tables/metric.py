"""Metrics of runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class Metric(Base):
    """One logged value; (source, seq) makes a repeated delivery harmless."""

    __tablename__ = "metrics"
    __table_args__ = (
        Index("ix_metrics_points", "run_id", "attempt", "namespace", "name", "logged_at"),
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    """Which node or client sent it."""
    seq: Mapped[int] = mapped_column(primary_key=True)
    namespace: Mapped[str] = mapped_column(server_default="")
    """Empty: what the script logged; others are for what is measured about the run."""
    name: Mapped[str]
    type: Mapped[str]
    step: Mapped[int | None]
    epoch: Mapped[int | None]
    logged_at: Mapped[datetime]
    value: Mapped[float | None] = mapped_column(Float(53))
    data: Mapped[dict[str, Any] | None]
    """``{"value": …}`` for everything that is not a finite scalar."""


class MetricSummary(Base):
    """What is known of one metric of an attempt, kept by the statement that stores its values."""

    __tablename__ = "metric_summaries"
    __table_args__ = (
        # Runs in the order of a metric, a page at a time.
        Index("ix_metric_summaries_last", "workspace_id", "namespace", "name", "last", "run_id"),
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    namespace: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str]
    """Of the run, which never moves."""
    type: Mapped[str]
    """Of the last value."""
    count: Mapped[int]
    min: Mapped[float | None] = mapped_column(Float(53))
    min_step: Mapped[int | None]
    max: Mapped[float | None] = mapped_column(Float(53))
    max_step: Mapped[int | None]
    last: Mapped[float | None] = mapped_column(Float(53))
    """The value of the highest step, of those the latest; without steps, the latest.

    NULL: it is no finite number.
    """
    last_data: Mapped[dict[str, Any] | None]
    last_step: Mapped[int | None]
    last_at: Mapped[datetime]
