"""The audit log: who changed what, and who was refused."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class AuditEvent(Base):
    """One thing that somebody did, or tried to; the database refuses to change or delete it.

    There are no foreign keys: an event outlives what it is about.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_workspace_id_id", "workspace_id", "id"),
        Index("ix_audit_events_actor_name_id", "actor_name", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), index=True)
    actor_kind: Mapped[str]
    """``user``, ``run``, ``node``, ``deployment``, ``operator`` (the command line), or empty."""
    actor_id: Mapped[str] = mapped_column(server_default="")
    actor_name: Mapped[str] = mapped_column(server_default="")
    token_id: Mapped[str] = mapped_column(server_default="")
    operation: Mapped[str]
    permission: Mapped[str] = mapped_column(server_default="")
    target: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What the address names."""
    workspace_id: Mapped[str | None]
    outcome: Mapped[str]
    """``done`` or ``denied``."""
    status: Mapped[int]
    address: Mapped[str] = mapped_column(server_default="")
    request_id: Mapped[str] = mapped_column(server_default="")
