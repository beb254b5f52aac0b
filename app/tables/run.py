"""Runs, their events, attempts, nodes and files."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class Run(Reconciled, Timestamped, Base):
    """One submitted job, or a run that a tracking client keeps by itself."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_workspace_id_id", "workspace_id", "id"),
        Index("ix_runs_cluster_id_status", "cluster_id", "status"),
        # Those that are under way: few of many.
        Index(
            "ix_runs_active",
            "workspace_id",
            postgresql_where=text(
                "kind = 'job' AND status NOT IN ('Completed', 'Failed', 'Canceled')"
            ),
        ),
        # The runs of an experiment, the one that was started last first.
        Index(
            "ix_runs_experiment_id_start",
            "experiment_id",
            text("coalesce(started_at, created_at) DESC"),
            text("id DESC"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    experiment_id: Mapped[str] = mapped_column(
        ForeignKey("experiments.id", ondelete="CASCADE"), index=True
    )
    cluster_id: Mapped[str | None] = mapped_column(ForeignKey("clusters.id", ondelete="SET NULL"))
    snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("snapshots.id"))
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id"))
    build_log_owner: Mapped[str | None]
    """The build whose output is being copied into the run's log."""
    build_log_start: Mapped[int] = mapped_column(server_default="0")
    """At which byte of the run's own stream that output begins."""
    image_reference: Mapped[str | None]
    """The container image that its nodes are made of; None before, and without containers."""
    kind: Mapped[str] = mapped_column(server_default="job")
    """job: executed here; tracked: only recorded here, its states come from a client."""
    creator_run_id: Mapped[str | None] = mapped_column(
        ForeignKey("runs.id", ondelete="SET NULL"), index=True
    )
    """The run whose script made this tracked one; its token is good for this one too."""
    traceparent: Mapped[str | None]
    """The span that submitted it, as W3C Trace Context writes it: all of the run is below that."""
    created_by: Mapped[str]
    display_name: Mapped[str] = mapped_column(server_default="")
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    properties: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    request: Mapped[dict[str, Any]]
    """The run request as it was accepted, with versions and the environment resolved."""
    status: Mapped[str] = mapped_column(server_default="NotStarted")
    event_seq: Mapped[int] = mapped_column(server_default="0")
    blockers: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    error: Mapped[dict[str, Any] | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    """Number of the current attempt; 0 before the first."""
    max_attempts: Mapped[int]
    node_count: Mapped[int]
    priority: Mapped[int] = mapped_column(server_default="50")
    """Higher goes first; waiting raises it."""
    data_checked: Mapped[bool] = mapped_column(server_default="false")
    """Whether all inputs were found available while the run was being prepared."""
    outputs_partial: Mapped[bool] = mapped_column(server_default="false")
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    sealed_at: Mapped[datetime | None]
    """When its logs were sealed: nothing is written after."""
    deleted_at: Mapped[datetime | None]
    """Since when it is hidden; it can be restored."""


class RunEvent(Base):
    """One change of a run, written in the transaction that made it."""

    __tablename__ = "run_events"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    """1, 2, … without gaps."""
    type: Mapped[str]
    status: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    data: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Attempt(Base):
    """One try at executing a run."""

    __tablename__ = "attempts"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
    gives_way_because: Mapped[str | None]
    """Why it has to give up its nodes, as a sentence; from then on it is being stopped."""
    outcome: Mapped[str] = mapped_column(server_default="")
    """Empty while it lasts; then Completed, Failed, Canceled, Lost or Preempted."""
    error: Mapped[dict[str, Any] | None]
    """Why it ended; while it lasts, why it is being ended."""


class RunNode(Base):
    """One node of an attempt; the row exists before the thing does."""

    __tablename__ = "run_nodes"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "attempt"], ["attempts.run_id", "attempts.number"], ondelete="CASCADE"
        ),
        Index("ix_run_nodes_run_id_attempt", "run_id", "attempt"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    """``tw-<run>-a<attempt>-n<node>``: also the name of the thing at the provider."""
    run_id: Mapped[str]
    attempt: Mapped[int]
    node_index: Mapped[int]
    cluster_node_id: Mapped[str | None] = mapped_column(
        ForeignKey("cluster_nodes.id", ondelete="SET NULL")
    )
    host: Mapped[str] = mapped_column(server_default="local")
    """The machine that it is on."""
    state: Mapped[str] = mapped_column(server_default="Assigned")
    """Assigned, Launched, Ready, Running, Exited, Finished, Failed or Lost."""
    removed: Mapped[bool] = mapped_column(server_default="false")
    """Whether the provider confirmed that nothing of it is left."""
    address: Mapped[str | None]
    """Where the other nodes reach it; known once it is ready."""
    ports: Mapped[list[Any]] = mapped_column(server_default="[]")
    """Ports that it keeps free for its processes."""
    launched_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    quiet: Mapped[dict[str, Any] | None]
    """With the last heartbeat: for how long nothing had been heard of its scripts."""
    records_seq: Mapped[int] = mapped_column(server_default="0")
    """Sequence number that the next record from this node must have."""
    result: Mapped[dict[str, Any] | None]
    """What the runner said at the end: processes with exit codes, reason, failure."""
    checkpoint: Mapped[list[dict[str, Any]] | None]
    """Files that it saved while it ran, as they were last whole."""
    outputs: Mapped[list[dict[str, Any]] | None]
    outputs_partial: Mapped[bool] = mapped_column(server_default="false")


class RunFile(Base):
    """A file of a run's history; its name never gets other content.

    Only a new attempt clears names: uploads of the lost one move under ``attempts/<number>/``.
    """

    __tablename__ = "run_files"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    origin: Mapped[str]
    """outputs, upload, log, or mlflow (these alone may be replaced and deleted, by MLflow)."""
    attempt: Mapped[int]
    """0: uploaded by a client from outside the run."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
