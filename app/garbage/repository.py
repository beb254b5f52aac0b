"""Queries about bytes that nothing refers to."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from app.garbage import references
from app.tables.blob import Blob
from app.tables.upload import Upload


def _unreferenced() -> ColumnElement[bool]:
    referenced = references.of_workspaces()
    same = and_(referenced.c.workspace_id == Blob.workspace_id, referenced.c.sha256 == Blob.sha256)
    return ~exists().where(same)


def _unused_for(seconds: float) -> ColumnElement[bool]:
    return Blob.used_at < func.clock_timestamp() - timedelta(seconds=seconds)


async def delete_unreferenced(
    session: AsyncSession, *, unused_for_seconds: float, sparing: Sequence[str]
) -> int:
    """Take from workspaces what nothing refers to and nobody touched for so long.

    Args:
        session: the transaction to write in.
        unused_for_seconds: since the bytes were last sent, asked about or referred to.
        sparing: digests that stay.

    Returns:
        How many bytes' names went, each counted once a workspace.
    """
    statement = delete(Blob).where(
        _unused_for(unused_for_seconds), Blob.sha256.not_in(sparing), _unreferenced()
    )
    gone = await session.execute(statement.returning(Blob.sha256))
    return len(gone.all())


async def held(session: AsyncSession, digests: Sequence[str]) -> set[str]:
    """Those of `digests` that a workspace has, a sealed log or an upload's last step needs."""
    logged = references.of_logs()
    of_blobs = select(Blob.sha256).where(Blob.sha256.in_(digests))
    of_logs = select(logged.c.sha256).where(logged.c.sha256.in_(digests))
    of_uploads = select(Upload.found_sha256).where(
        Upload.found_sha256.in_(digests), Upload.completed_at.is_(None)
    )
    return set(await session.scalars(union(of_blobs, of_logs, of_uploads)))


async def usage(session: AsyncSession, workspace_id: str) -> tuple[int, int, int, int]:
    """Objects and bytes that a workspace has, then objects and bytes nothing refers to."""
    count, size = func.count(), func.coalesce(func.sum(Blob.size_bytes), 0)
    loose = _unreferenced()
    statement = select(
        count, size, count.filter(loose), func.coalesce(func.sum(Blob.size_bytes).filter(loose), 0)
    ).where(Blob.workspace_id == workspace_id)
    row = (await session.execute(statement)).one()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])


async def everything(session: AsyncSession) -> list[str]:
    """Every sha256 that a workspace has or a sealed log consists of, sorted."""
    logged = references.of_logs()
    return sorted(await session.scalars(union(select(Blob.sha256), select(logged.c.sha256))))
