"""Sweeps over hyperparameters, and their trials."""

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class Sweep(Reconciled, Timestamped, Base):
    """One search; its trials are runs like any other."""

    __tablename__ = "sweeps"
    __table_args__ = (Index("ix_sweeps_workspace_id_id", "workspace_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    experiment_id: Mapped[str] = mapped_column(
        ForeignKey("experiments.id", ondelete="CASCADE"), index=True
    )
    created_by: Mapped[str]
    display_name: Mapped[str] = mapped_column(server_default="")
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    spec: Mapped[dict[str, Any]]
    """The request as it was accepted."""
    seed: Mapped[int]
    status: Mapped[str] = mapped_column(server_default="Running")
    """Running, CancelRequested, Completed, Failed or Canceled."""
    end_reason: Mapped[str] = mapped_column(server_default="")
    """Why no more trials are proposed; empty while they are."""
    blockers: Mapped[list[Any]] = mapped_column(server_default="[]")
    """Why it proposes no trial just now, though it will."""
    error: Mapped[dict[str, Any] | None]
    ended_at: Mapped[datetime | None]


class Trial(Base):
    """One proposal; written in the transaction that writes its run, so none is made twice."""

    __tablename__ = "trials"
    __table_args__ = (Index("ix_trials_sweep_id_value", "sweep_id", "value", "number"),)

    sweep_id: Mapped[str] = mapped_column(
        ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    """0, 1, … without gaps."""
    run_id: Mapped[str | None] = mapped_column(
        ForeignKey("runs.id", ondelete="SET NULL"), unique=True
    )
    parameters: Mapped[dict[str, Any]]
    outcome: Mapped[str] = mapped_column(server_default="")
    """Empty while its run goes on; then Completed, Failed or Canceled."""
    value: Mapped[float | None] = mapped_column(Float(53))
    """The best of the primary metric so far, of all attempts of its run."""
    intervals: Mapped[int] = mapped_column(server_default="0")
    """How many values of the primary metric the last attempt has logged."""
    judged_attempt: Mapped[int] = mapped_column(server_default="0")
    """The attempt of its run about which the policy was last asked."""
    judged_interval: Mapped[int] = mapped_column(server_default="0")
    """The last interval of this attempt at which the policy was asked."""
    reported: Mapped[list[Any] | None] = mapped_column(deferred=True, deferred_raiseload=True)
    """Once it is over: the values of the last attempt in their order; null: no number."""
    reported_at: Mapped[list[Any] | None] = mapped_column(deferred=True, deferred_raiseload=True)
    """The moments of these values, in seconds since 1970."""
    ended_interval: Mapped[int | None]
    """The interval at which the policy ended it; NULL: it did not."""
    termination: Mapped[dict[str, Any] | None] = mapped_column(
        deferred=True, deferred_raiseload=True
    )
    """The comparison for which the policy ended it."""
    reserved: Mapped[float] = mapped_column(Float(53), server_default="0")
    """Kept of the sweep's max_cost for it: the most that it was expected to cost."""
    cost: Mapped[float] = mapped_column(Float(53), server_default="0")
    """What its run has cost, to the hundredth while it goes on; stays when the run is deleted."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
