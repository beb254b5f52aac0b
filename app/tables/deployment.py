"""Deployments and their replicas."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class Deployment(Reconciled, Timestamped, Base):
    """A model version behind a scoring address."""

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), index=True)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id"))
    replica_count: Mapped[int]
    resource_configuration: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    limits: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    generation: Mapped[int] = mapped_column(server_default="1")
    """Counts the changes that need new replicas."""
    state: Mapped[str] = mapped_column(server_default="Transitioning")
    error: Mapped[dict[str, Any] | None]
    deleting: Mapped[bool] = mapped_column(server_default="false")
    signature: Mapped[dict[str, Any] | None]
    primary_key_number: Mapped[int] = mapped_column(server_default="1")
    secondary_key_number: Mapped[int] = mapped_column(server_default="1")
    primary_key_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    secondary_key_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """The keys are derived from these numbers and the signing key of these times; they are stored
    nowhere."""
    state_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    autoscale: Mapped[dict[str, Any] | None]
    """What lets `replica_count` follow the load; None: it is fixed."""
    busy_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """When so many replicas were last needed."""
    traffic: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """``shares`` and ``shadow``: percent of the requests by the name of another deployment."""
    data_capture: Mapped[dict[str, Any] | None]
    """Which requests and answers are kept, and how long; None: none are."""
    previous: Mapped[dict[str, Any] | None]
    """The wish that was healthy before this one: where a rollback goes."""


class DeploymentLoad(Base):
    """How much one router, a process of the API, has under way for a deployment."""

    __tablename__ = "deployment_loads"

    deployment_id: Mapped[str] = mapped_column(
        ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True
    )
    router_id: Mapped[str] = mapped_column(primary_key=True)
    concurrency: Mapped[float]
    """Requests under way at a time, on average since the note before; those that wait too."""
    noted_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Replica(Base):
    """One serving process; the row exists before the process does."""

    __tablename__ = "replicas"

    name: Mapped[str] = mapped_column(primary_key=True)
    """``tw-<deployment>-g<generation>-r<index>-<start>``: also its name at the provider."""
    deployment_id: Mapped[str] = mapped_column(
        ForeignKey("deployments.id", ondelete="CASCADE"), index=True
    )
    generation: Mapped[int]
    index: Mapped[int]
    start: Mapped[int] = mapped_column(server_default="1")
    """Counts the starts of this index within its generation."""
    state: Mapped[str] = mapped_column(server_default="Assigned")
    """Assigned, Launched, Serving, Draining, Exited or Lost."""
    removed: Mapped[bool] = mapped_column(server_default="false")
    address: Mapped[str | None]
    """Where the API reaches the node, as its provider says; known once it was started."""
    port: Mapped[int | None]
    heartbeat_at: Mapped[datetime | None]
    launched_at: Mapped[datetime | None]
    serving_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
