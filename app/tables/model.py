"""Registered models."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class Model(Timestamped, Base):
    """A named model of a workspace."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    latest_version: Mapped[int] = mapped_column(server_default="0")
    """Number given last; counted under the row's lock, so numbers have no gaps."""


class ModelVersion(Reconciled, Base):
    """One immutable version: files, and where they came from."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model_id", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    version: Mapped[int]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    properties: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    framework: Mapped[str]
    framework_version: Mapped[str] = mapped_column(server_default="")
    resource_configuration: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    kind: Mapped[str]
    """What the files are: saved_model, keras, tf1_checkpoint, …"""
    files: Mapped[list[dict[str, Any]]]
    """``[{path, sha256, size_bytes}]``, sorted by path."""
    size_bytes: Mapped[int]
    run_id: Mapped[str | None] = mapped_column(
        ForeignKey("runs.id", ondelete="SET NULL"), index=True
    )
    lineage: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    signature: Mapped[dict[str, Any] | None]
    signature_state: Mapped[str] = mapped_column(server_default="Pending")
    """Pending, Ready or Unavailable."""
    signature_reason: Mapped[str] = mapped_column(server_default="")
    stage: Mapped[str] = mapped_column(server_default="None")
    """None, Staging, Production or Archived."""
    verification: Mapped[dict[str, Any] | None]
    """What reading the files again has shown last."""
    source: Mapped[str] = mapped_column(server_default="")
    """The address that an MLflow client registered; empty for versions made otherwise."""
    source_run_id: Mapped[str] = mapped_column(server_default="", index=True)
    """The run as an MLflow client named it; need not be one of this workspace."""
    run_link: Mapped[str] = mapped_column(server_default="")
    logged_model_id: Mapped[str] = mapped_column(server_default="")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """Last change of description, tags or stage."""


class ModelAlias(Base):
    """A name that points to one version of a model."""

    __tablename__ = "model_aliases"

    model_id: Mapped[str] = mapped_column(
        ForeignKey("models.id", ondelete="CASCADE"), primary_key=True
    )
    alias: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[str] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), index=True
    )


class _SampleOfTheReleaseBefore(Reconciled):
    """Columns that the release before reads; they go with the next one."""

    state: Mapped[str] = mapped_column(server_default="Pending")
    reason: Mapped[str] = mapped_column(server_default="")
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="SET NULL"))
    start: Mapped[int] = mapped_column(server_default="0")
    node_name: Mapped[str | None] = mapped_column(unique=True)
    result: Mapped[dict[str, Any] | None]
    framework_version: Mapped[str] = mapped_column(server_default="")
    started_at: Mapped[datetime | None]


SAMPLE_FOR_THE_RELEASE_BEFORE: dict[str, Any] = {"state": "Ready", "next_check_at": None}
"""With these it takes a sample for one."""


class ModelSample(_SampleOfTheReleaseBefore, Base):
    """What a version answers to one input."""

    __tablename__ = "model_samples"

    id: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[str] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), unique=True
    )
    inputs: Mapped[dict[str, Any]] = mapped_column(nullable=True)
    """Values by the name of the input, nested lists, as ``inputs`` of a prediction request."""
    outputs: Mapped[dict[str, Any]] = mapped_column(nullable=True)
    """Values by the name of the output."""
    relative_tolerance: Mapped[float] = mapped_column(server_default="0.001")
    absolute_tolerance: Mapped[float] = mapped_column(server_default="0.00001")
    """An answer matches when |answer - stored| ≤ absolute + relative · |stored|, element by
    element."""
    is_given: Mapped[bool] = mapped_column(server_default="false")
    """Whether it is a user's; else a capture found it."""
    captured_at: Mapped[datetime] = mapped_column(nullable=True)


class ModelCapture(Reconciled, Base):
    """The loading of a version in a node of its own, which finds its signature and sample."""

    __tablename__ = "model_captures"

    id: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[str] = mapped_column(
        ForeignKey("model_versions.id", ondelete="CASCADE"), unique=True
    )
    state: Mapped[str] = mapped_column(server_default="Pending")
    """Pending, Running, Captured or Failed."""
    error: Mapped[dict[str, Any] | None]
    """Why there is no sample: ``{code, message, last_lines}``."""
    runtime: Mapped[str] = mapped_column(server_default="")
    """Name and version of the library that loaded the model."""
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id", ondelete="SET NULL"))
    """The environment that it runs, or ran, in."""
    start: Mapped[int] = mapped_column(server_default="0")
    """Counts the nodes that were started for it."""
    node_name: Mapped[str | None] = mapped_column(unique=True)
    """The node that works for it, until nothing of it is left."""
    result: Mapped[dict[str, Any] | None]
    """What that node has reported."""
    started_at: Mapped[datetime | None]
    """When that node was asked for."""
    ended_at: Mapped[datetime | None]
