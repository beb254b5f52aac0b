"""Queries about uploads."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import func, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables.upload import PartUpload, Upload
from app.tables.workspace import Workspace
from app.uploads.errors import UploadNotFound

Either = TypeVar("Either", Upload, PartUpload)


async def get(session: AsyncSession, workspace_id: str, upload_id: str) -> Upload:
    """One upload of a workspace.

    Raises:
        UploadNotFound: the workspace has none of this id.
    """
    statement = select(Upload).where(Upload.workspace_id == workspace_id, Upload.id == upload_id)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise UploadNotFound(
            f"This workspace has no upload {upload_id!r}; one that nobody goes on with is given up."
        )
    return row


async def unfinished(session: AsyncSession, workspace_id: str) -> tuple[int, int]:
    """How many uploads of a workspace are under way, and how many bytes they announce.

    Until the transaction ends no other one of the workspace is counted, so that many at once do
    not pass the limit together.
    """
    locked = select(Workspace.id).where(Workspace.id == workspace_id)
    await session.execute(locked.with_for_update(key_share=True))
    count = size_bytes = 0
    for table in (Upload, PartUpload):
        statement = select(func.count(), func.coalesce(func.sum(table.size_bytes), 0)).where(
            table.workspace_id == workspace_id, table.completed_at.is_(None)
        )
        found = (await session.execute(statement)).one()
        count, size_bytes = count + found[0], size_bytes + int(found[1])
    return count, size_bytes


async def unfinished_of(session: AsyncSession, caller: str) -> int:
    """How many uploads of a token, or of a run, are under way."""
    counts = [
        select(func.count())
        .where(table.caller == caller, table.completed_at.is_(None), table.caller != "")
        .scalar_subquery()
        for table in (Upload, PartUpload)
    ]
    return sum((await session.execute(select(*counts))).one())


async def advance(session: AsyncSession, upload_id: str, offset_bytes: int) -> None:
    """Write down how many bytes are safe."""
    statement = update(Upload).where(Upload.id == upload_id, Upload.completed_at.is_(None))
    await session.execute(statement.values(offset_bytes=offset_bytes))


async def begin_again(session: AsyncSession, upload_id: str, offset_bytes: int) -> bool:
    """Write down that no byte is there, if until now so many were, unchecked; whether it was so."""
    statement = (
        update(Upload)
        .where(
            Upload.id == upload_id,
            Upload.offset_bytes == offset_bytes,
            Upload.found_sha256.is_(None),
        )
        .values(offset_bytes=0)
        .returning(Upload.id)
    )
    return await session.scalar(statement) is not None


async def abandoned(
    session: AsyncSession, table: type[Either], *, keep_seconds: float, limit: int
) -> Sequence[Either]:
    """Uploads that nobody has touched for so long, complete or not, locked for removal."""
    since = func.clock_timestamp() - timedelta(seconds=keep_seconds)
    statement = select(table).where(table.updated_at < since).order_by(table.updated_at)
    locked = statement.limit(limit).with_for_update(skip_locked=True)
    return (await session.scalars(locked)).all()


async def known(session: AsyncSession, upload_ids: Sequence[str]) -> set[str]:
    """Those of these ids that there are uploads of, in parts or not."""
    statements = [
        select(table.id).where(table.id.in_(upload_ids)) for table in (Upload, PartUpload)
    ]
    return set(await session.scalars(union_all(*statements)))


async def lock(session: AsyncSession, table: type[Either], upload_id: str) -> Either:
    """One upload, in parts or not, locked for change.

    Raises:
        UploadNotFound: it was given up meanwhile.
    """
    statement = select(table).where(table.id == upload_id).with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise given_up()
    return row


def given_up() -> UploadNotFound:
    """What somebody is told who goes on with an upload that another request has removed."""
    return UploadNotFound("The upload was given up meanwhile.")


async def record_hash(session: AsyncSession, upload_id: str, sha256: str) -> None:
    """Write down what all bytes were found to be."""
    statement = update(Upload).where(Upload.id == upload_id, Upload.completed_at.is_(None))
    await session.execute(statement.values(found_sha256=sha256))


async def find_parts(session: AsyncSession, workspace_id: str, upload_id: str) -> PartUpload | None:
    """One upload in parts of a workspace, if there is such."""
    statement = select(PartUpload).where(
        PartUpload.workspace_id == workspace_id, PartUpload.id == upload_id
    )
    return (await session.execute(statement)).scalar_one_or_none()
