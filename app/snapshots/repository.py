"""Queries about snapshots."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.snapshots.errors import SnapshotInUse, SnapshotNotFound
from app.snapshots.manifest import Manifest
from app.tables.snapshot import Snapshot


async def get(session: AsyncSession, workspace_id: str, snapshot_id: str) -> Snapshot:
    """One snapshot of a workspace.

    Raises:
        SnapshotNotFound: the workspace has none of this id.
    """
    statement = select(Snapshot).where(
        Snapshot.workspace_id == workspace_id, Snapshot.id == snapshot_id
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise SnapshotNotFound(f"This workspace has no snapshot {snapshot_id!r}.")
    return row


async def get_or_create(session: AsyncSession, workspace_id: str, manifest: Manifest) -> Snapshot:
    """The snapshot with these files, made when there is none."""
    snapshot_id = manifest.snapshot_id(workspace_id)
    statement = insert(Snapshot).values(
        id=snapshot_id,
        workspace_id=workspace_id,
        sha256=manifest.sha256,
        files=manifest.as_json(),
        file_count=len(manifest.files),
        size_bytes=manifest.size_bytes,
    )
    await session.execute(statement.on_conflict_do_nothing())
    return await get(session, workspace_id, snapshot_id)


async def delete(session: AsyncSession, snapshot: Snapshot) -> None:
    """Delete a snapshot.

    Raises:
        SnapshotInUse: runs were made of it.
    """
    try:
        async with session.begin_nested():
            await session.delete(snapshot)
    except IntegrityError:
        raise SnapshotInUse(
            f"Runs were made of snapshot {snapshot.id!r}; delete them first."
        ) from None
