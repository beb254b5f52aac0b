"""Source snapshots."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class Snapshot(Base):
    """An immutable folder of source: a manifest of paths and hashes."""

    __tablename__ = "snapshots"
    __table_args__ = (UniqueConstraint("workspace_id", "sha256"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    sha256: Mapped[str]
    """Hash of the canonical manifest."""
    files: Mapped[list[dict[str, Any]]]
    """``[{path, sha256, size_bytes, executable}]``, sorted by path."""
    file_count: Mapped[int]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
