"""Files of captured predictions."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class CaptureFile(Base):
    """Requests and answers of a deployment, one a line, as one API process collected them."""

    __tablename__ = "capture_files"
    __table_args__ = (Index("ix_capture_files_deployment_id_id", "deployment_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Sorts by the time when the file was written."""
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.id", ondelete="CASCADE"))
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    record_count: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    """When the first and the last of its requests were answered."""
    expires_at: Mapped[datetime] = mapped_column(index=True)
