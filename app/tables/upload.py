"""Uploads that go on where they broke off."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Upload(Timestamped, Base):
    """One file on its way into the object store, piece by piece."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), index=True
    )
    size_bytes: Mapped[int]
    """Of the whole file, as announced."""
    sha256: Mapped[str | None]
    """As announced."""
    found_sha256: Mapped[str | None]
    """Of all bytes, once they were there and were checked; from here on it only gets completed."""
    offset_bytes: Mapped[int] = mapped_column(server_default="0")
    """So many bytes are safe on disk; what lies behind them is written again."""
    completed_at: Mapped[datetime | None]
    created_by: Mapped[str]
    caller: Mapped[str] = mapped_column(server_default="", index=True)
    """Id of the token that began it, or of the run; else, of the user. Limits count by it."""


class PartUpload(Timestamped, Base):
    """One file on its way into the object store, in numbered parts that come in any order.

    The parts lie beside the files of other uploads, as ``<id>.<number>``.
    """

    __tablename__ = "part_uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), index=True
    )
    target: Mapped[str]
    """What the file will be; whoever goes on with the upload has to name it too."""
    part_count: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(server_default="0")
    """Of the parts that are here."""
    found_sha256: Mapped[str | None]
    """Of all parts, once they were put together."""
    completed_at: Mapped[datetime | None]
    created_by: Mapped[str]
    caller: Mapped[str] = mapped_column(server_default="", index=True)
    """As of `Upload`."""
