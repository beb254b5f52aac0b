"""Which bytes a workspace has."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.writer import StoredObject
from app.tables.blob import Blob

_ROWS_AT_ONCE = 5000
_TOUCHED_EVERY = timedelta(minutes=10)
"""More often `used_at` is not written; what is unused is kept for much longer."""


async def add(session: AsyncSession, workspace_id: str, stored: Iterable[StoredObject]) -> None:
    """Give a workspace access to objects; those that it has already are fine."""
    by_digest = {item.sha256: item.size_bytes for item in stored}
    # Sorted, so that transactions that add the same rows cannot deadlock.
    values = [
        {"workspace_id": workspace_id, "sha256": sha256, "size_bytes": by_digest[sha256]}
        for sha256 in sorted(by_digest)
    ]
    for start in range(0, len(values), _ROWS_AT_ONCE):
        statement = insert(Blob).values(values[start : start + _ROWS_AT_ONCE])
        again = statement.on_conflict_do_update(
            index_elements=[Blob.workspace_id, Blob.sha256],
            set_={"used_at": func.clock_timestamp()},
            where=_used_long_ago(),
        )
        await session.execute(again)


async def touch(session: AsyncSession, workspace_id: str, digests: Sequence[str]) -> dict[str, int]:
    """As `sizes`, and what is found will not be collected as unused for a while.

    For whoever is about to refer to the bytes: a collection that is going on at the same time
    either took them before (they are not found) or leaves them.
    """
    for start in range(0, len(digests), _ROWS_AT_ONCE):
        # Sorted, so that transactions that touch the same rows cannot deadlock.
        batch = sorted(digests[start : start + _ROWS_AT_ONCE])
        mine = (Blob.workspace_id == workspace_id, Blob.sha256.in_(batch), _used_long_ago())
        locked = select(Blob.sha256).where(*mine).order_by(Blob.sha256).with_for_update()
        if old := (await session.scalars(locked)).all():
            statement = update(Blob).where(Blob.workspace_id == workspace_id, Blob.sha256.in_(old))
            await session.execute(statement.values(used_at=func.clock_timestamp()))
    return await sizes(session, workspace_id, digests)


def _used_long_ago() -> ColumnElement[bool]:
    return Blob.used_at < func.clock_timestamp() - _TOUCHED_EVERY


async def sizes(session: AsyncSession, workspace_id: str, digests: Sequence[str]) -> dict[str, int]:
    """Sizes in bytes of those of `digests` that the workspace has."""
    found: dict[str, int] = {}
    for start in range(0, len(digests), _ROWS_AT_ONCE):
        statement = select(Blob.sha256, Blob.size_bytes).where(
            Blob.workspace_id == workspace_id,
            Blob.sha256.in_(digests[start : start + _ROWS_AT_ONCE]),
        )
        found.update((sha256, size) for sha256, size in await session.execute(statement))
    return found
