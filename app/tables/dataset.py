"""Datasets, their versions, and the files that a version pins."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Reconciled, Timestamped


class Dataset(Timestamped, Base):
    """A named dataset of a workspace."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")


class DatasetVersion(Base):
    """An immutable version: what every file was when it was registered."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    version: Mapped[int]
    description: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, str | None]] = mapped_column(server_default="{}")
    fingerprint: Mapped[str]
    """Hash over the paths and SHA-256 of all files."""
    file_count: Mapped[int]
    size_bytes: Mapped[int]
    lineage: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What it was made from, if the workspace made it: run, model version, dataset versions."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class DatasetFile(Base):
    """One pinned file."""

    __tablename__ = "dataset_files"

    version_id: Mapped[str] = mapped_column(
        ForeignKey("dataset_versions.id", ondelete="CASCADE"), primary_key=True
    )
    path: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    size_bytes: Mapped[int]
    etag: Mapped[str] = mapped_column(server_default="")
    last_modified: Mapped[str] = mapped_column(server_default="")
    sha256: Mapped[str]


class DatasetRegistration(Reconciled, Timestamped, Base):
    """A request to register a dataset, worked off by a reconciler."""

    __tablename__ = "dataset_registrations"

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str]
    request: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(server_default="Pending")
    """Pending, Succeeded or Failed."""
    version_id: Mapped[str | None] = mapped_column(
        ForeignKey("dataset_versions.id", ondelete="SET NULL")
    )
    created_version: Mapped[bool] = mapped_column(server_default="false")
    """Whether a new version was made, not an identical one found."""
    error: Mapped[dict[str, Any] | None]
    """``{code, message, …}`` when Failed."""
