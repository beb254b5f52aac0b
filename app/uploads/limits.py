"""How many uploads, of how many bytes, a workspace may have under way."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.config import Settings
from app.storage.errors import ObjectTooLarge
from app.tables.upload import PartUpload, Upload
from app.uploads import repository
from app.uploads.errors import TooManyUploads, TooManyUploadsOfCaller

_RETRY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be announced.

    Attributes:
        blob_bytes: the size of one file.
        uploads: how many of a workspace may be under way.
        uploads_bytes: their sizes together.
        uploads_of_caller: how many of a token, or of a run, may be under way.
    """

    blob_bytes: int
    uploads: int
    uploads_bytes: int
    uploads_of_caller: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Those of this installation."""
        return cls(
            blob_bytes=settings.max_upload_bytes,
            uploads=settings.unfinished_uploads_max,
            uploads_bytes=settings.unfinished_uploads_max_bytes,
            uploads_of_caller=settings.unfinished_uploads_per_caller,
        )


async def check_others(
    session: AsyncSession, upload: Upload | PartUpload, limits: Limits, *, keep_seconds: float
) -> None:
    """Refuse another upload where there are too many.

    Args:
        session: the transaction that writes it.
        upload: the new one.
        limits: of the installation.
        keep_seconds: after so long the abandoned ones are given up.

    Raises:
        TooManyUploads: there are too many, or they announce too much.
        TooManyUploadsOfCaller: there are too many of the caller's.
    """
    count, size_bytes = await repository.unfinished(session, upload.workspace_id)
    own = await repository.unfinished_of(session, upload.caller)
    if own >= limits.uploads_of_caller:
        raise TooManyUploadsOfCaller(
            f"{own} uploads of this token are unfinished; finish or DELETE some.",
            retry_after_seconds=_RETRY_SECONDS,
        )
    if count >= limits.uploads or size_bytes + upload.size_bytes > limits.uploads_bytes:
        raise _too_many(count, size_bytes, limits, keep_seconds)


async def check_growth(
    session: AsyncSession,
    upload: PartUpload,
    limits: Limits,
    *,
    grown_bytes: int,
    keep_seconds: float,
) -> None:
    """Refuse so many bytes more for an upload under way, where they are too many.

    Args:
        session: the transaction that writes them down.
        upload: locked.
        limits: of the installation.
        grown_bytes: how many there are more than before.
        keep_seconds: after so long the abandoned ones are given up.

    Raises:
        ObjectTooLarge: the upload would be too large.
        TooManyUploads: all of the workspace together would be.
    """
    if upload.size_bytes + grown_bytes > limits.blob_bytes:
        raise ObjectTooLarge(max_bytes=limits.blob_bytes)
    count, size_bytes = await repository.unfinished(session, upload.workspace_id)
    if grown_bytes > 0 and size_bytes + grown_bytes > limits.uploads_bytes:
        raise _too_many(count, size_bytes, limits, keep_seconds)


def _too_many(count: int, size_bytes: int, limits: Limits, keep_seconds: float) -> TooManyUploads:
    return TooManyUploads(
        f"{count} uploads of this workspace are unfinished, of {size_bytes} bytes; at most"
        f" {limits.uploads} may be, of {limits.uploads_bytes} bytes. Finish or DELETE some; those"
        f" that nobody goes on with are given up after {keep_seconds / 86400:.0f} days.",
        extensions={"unfinished_count": count, "unfinished_bytes": size_bytes},
    )
