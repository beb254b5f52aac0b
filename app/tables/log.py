"""Logs: byte streams in chunks, sealed into the object store at the end."""

from datetime import datetime

from sqlalchemy import Identity, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class LogStream(Base):
    """One byte stream of an owner (run, image, deployment); name '' is all streams merged."""

    __tablename__ = "log_streams"

    owner: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    length_bytes: Mapped[int] = mapped_column(server_default="0")
    sha256: Mapped[str | None]
    """Set when sealed: the hash of all bytes, and the key of the object that holds them."""
    times_sha256: Mapped[str | None]
    """Set when sealed: the object that holds the times of the bytes."""
    expired_at: Mapped[datetime | None]
    """When the workspace's retention took the bytes away."""
    first_byte: Mapped[int] = mapped_column(server_default="0")
    """Bytes before it were kept long enough, and are gone; offsets stay what they were."""
    node_index: Mapped[int | None]
    """Which of the run's nodes writes it; NULL: the control plane does."""
    id: Mapped[int] = mapped_column(Identity(always=True), unique=True)
    """A short name for places in several streams at once."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LogChunk(Base):
    """Some bytes of a stream that is not sealed yet."""

    __tablename__ = "log_chunks"
    __table_args__ = (
        Index("ix_log_chunks_stream", "owner", "attempt", "name", "offset"),
        Index("ix_log_chunks_merged", "owner", "merged_offset"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    attempt: Mapped[int]
    name: Mapped[str]
    offset: Mapped[int]
    merged_offset: Mapped[int | None]
    """Where these bytes stand in the merged stream; NULL for streams that are not merged."""
    data: Mapped[bytes] = mapped_column(LargeBinary)
    times: Mapped[bytes | None] = mapped_column(LargeBinary)
    """When the bytes were written, as ``app.logs.times`` packs it."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
