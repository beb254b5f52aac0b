"""What tracking clients note about runs: parameters, data they read, models they logged."""

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class RunParam(Base):
    """A parameter of a run: written once."""

    __tablename__ = "run_params"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    attempt: Mapped[int]
    """Whose script wrote it (0: a client from outside); a lost attempt's are taken back."""


class RunDataset(Base):
    """A dataset that a tracking client says the run has read."""

    __tablename__ = "run_datasets"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    source_type: Mapped[str]
    source: Mapped[str]
    schema: Mapped[str | None]
    profile: Mapped[str | None]
    tags: Mapped[dict[str, str]]
    place: Mapped[int] = mapped_column(server_default="0")
    """Among those of the run, in the order in which they were noted."""


class LoggedModel(Timestamped, Base):
    """A model that was logged: its files are the run's, below ``models/<id>/``, or its own."""

    __tablename__ = "logged_models"

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    experiment_id: Mapped[str] = mapped_column(
        ForeignKey("experiments.id", ondelete="CASCADE"), index=True
    )
    run_id: Mapped[str | None] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), index=True
    )
    """NULL: it was logged outside of runs."""
    name: Mapped[str]
    model_type: Mapped[str]
    status: Mapped[str]
    """PENDING, READY or UPLOAD_FAILED, as its client says."""
    tags: Mapped[dict[str, str | None]]
    params: Mapped[dict[str, str]]
    deleted_at: Mapped[datetime | None]


class LoggedModelFile(Base):
    """A file of a model that was logged outside of runs."""

    __tablename__ = "logged_model_files"

    model_id: Mapped[str] = mapped_column(
        ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True
    )
    path: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class WorkspaceArtifact(Base):
    """A file that tracking clients keep in the workspace: it is of no run and of no model."""

    __tablename__ = "workspace_artifacts"

    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    path: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class RunModel(Base):
    """A logged model that a run has read or made."""

    __tablename__ = "run_models"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str] = mapped_column(
        ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True
    )
    is_output: Mapped[bool] = mapped_column(primary_key=True)
    step: Mapped[int]


class LoggedModelMetric(Base):
    """A metric of a logged model, perhaps measured on a certain dataset."""

    __tablename__ = "logged_model_metrics"
    __table_args__ = (Index("ix_logged_model_metrics_model_id_name", "model_id", "name"),)

    model_id: Mapped[str] = mapped_column(
        ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True)
    """Made of the value and its circumstances, so that a repeated delivery is harmless."""
    run_id: Mapped[str]
    name: Mapped[str]
    value: Mapped[float | None] = mapped_column(Float(53))
    """NULL: not a number."""
    step: Mapped[int]
    logged_at: Mapped[datetime]
    dataset_name: Mapped[str]
    dataset_digest: Mapped[str]
