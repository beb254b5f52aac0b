"""Clusters and their nodes."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Cluster(Timestamped, Base):
    """A pool of equal nodes that grows and shrinks with its queue."""

    __tablename__ = "clusters"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    vm_size: Mapped[str]
    vm_priority: Mapped[str]
    min_nodes: Mapped[int]
    max_nodes: Mapped[int]
    idle_seconds_before_scaledown: Mapped[int]
    node_placement: Mapped[str] = mapped_column(server_default="spread")
    """spread: over as many hosts as can be; pack: on as few."""
    is_enabled: Mapped[bool] = mapped_column(server_default="true")
    """Whether runs may start on it; those that run go on."""
    provisioning_state: Mapped[str] = mapped_column(server_default="Creating")
    provisioning_state_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    allocation_state: Mapped[str] = mapped_column(server_default="Resizing")
    allocation_state_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    target_node_count: Mapped[int] = mapped_column(server_default="0")
    errors: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    failed_starts: Mapped[int] = mapped_column(server_default="0")
    """How often nodes could not be started since one last could."""
    start_error: Mapped[dict[str, Any] | None]
    """The last of those failures: message, host and moment."""


class ClusterNode(Timestamped, Base):
    """One node; on the ``process`` provider a slice of this machine."""

    __tablename__ = "cluster_nodes"
    __table_args__ = (UniqueConstraint("cluster_id", "index"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    cluster_id: Mapped[str] = mapped_column(
        ForeignKey("clusters.id", ondelete="CASCADE"), index=True
    )
    index: Mapped[int]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    host: Mapped[str] = mapped_column(server_default="local")
    """The machine that it is a part of."""
    cores: Mapped[float]
    memory_bytes: Mapped[int]
    gpus: Mapped[int] = mapped_column(server_default="0")
    gpu_ids: Mapped[list[str]] = mapped_column(server_default="[]")
    """Which of the host's GPUs are this node's; no other node has them."""
    failed_starts: Mapped[int] = mapped_column(server_default="0")
    """How often what was to run here could not be started since something last could."""
    unusable_because: Mapped[str | None]
    """It gets no run any more, and goes."""
    idle_since: Mapped[datetime | None] = mapped_column(server_default=func.clock_timestamp())
