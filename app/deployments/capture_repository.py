"""Queries about files of captured predictions."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.deployments.errors import CaptureNotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.capture import CaptureFile


async def list_page(
    session: AsyncSession, deployment_id: str, page: PageQuery
) -> tuple[list[CaptureFile], str]:
    """Files of a deployment, the newest first."""
    return await fetch_page(
        session,
        select(CaptureFile).where(CaptureFile.deployment_id == deployment_id),
        keys=[CaptureFile.id],
        page=page,
        key_of=lambda row: [row.id],
        descending=True,
    )


async def get(session: AsyncSession, deployment_id: str, capture_id: str) -> CaptureFile:
    """One file of a deployment.

    Raises:
        CaptureNotFound: there is none, or it is gone by now.
    """
    statement = select(CaptureFile).where(
        CaptureFile.deployment_id == deployment_id, CaptureFile.id == capture_id
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise CaptureNotFound(capture_id)
    return row


async def between(
    session: AsyncSession,
    deployment_id: str,
    *,
    after: datetime | None,
    before: datetime | None,
    most: int,
) -> Sequence[CaptureFile]:
    """Files with requests of a time, the oldest first, locked lest they go meanwhile."""
    statement = select(CaptureFile).where(CaptureFile.deployment_id == deployment_id)
    if after is not None:
        statement = statement.where(CaptureFile.last_at >= after)
    if before is not None:
        statement = statement.where(CaptureFile.first_at < before)
    ordered = statement.order_by(CaptureFile.id).limit(most).with_for_update(key_share=True)
    return (await session.scalars(ordered)).all()


async def delete_over(session: AsyncSession, deployment_id: str, *, max_bytes: int) -> None:
    """Take away the oldest files of a deployment until all that are left are within `max_bytes`."""
    up_to = func.sum(CaptureFile.size_bytes).over(order_by=CaptureFile.id.desc())
    summed = (
        select(CaptureFile.id, up_to.label("bytes"))
        .where(CaptureFile.deployment_id == deployment_id)
        .subquery()
    )
    too_old = select(summed.c.id).where(summed.c.bytes > max_bytes)
    await session.execute(delete(CaptureFile).where(CaptureFile.id.in_(too_old)))


async def delete_expired(session: AsyncSession) -> int:
    """Take away files that were kept long enough; returns how many they were."""
    expired = delete(CaptureFile).where(CaptureFile.expires_at < func.clock_timestamp())
    return len((await session.execute(expired.returning(CaptureFile.id))).all())
