"""Answers kept for repeated requests."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class IdempotencyKey(Base):
    """The answer that a key got; one without a status is still being worked out.

    A body that has a secret in it is encrypted with the installation's key ``key_id``.
    """

    __tablename__ = "idempotency_keys"

    principal_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int | None]
    headers: Mapped[dict[str, str]] = mapped_column(server_default="{}")
    body: Mapped[bytes] = mapped_column(server_default="")
    key_id: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), index=True)
