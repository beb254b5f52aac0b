"""Which bytes a workspace has."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.writer import StoredObject
from app.tables.blob import Blob

_ROWS_AT_ONCE = 5000


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
        await session.execute(statement.on_conflict_do_nothing())


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
