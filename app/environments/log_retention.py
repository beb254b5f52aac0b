"""Logs of builds go when no workspace that uses the image keeps them any longer."""

from sqlalchemy import Integer, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables.image import WorkspaceImage
from app.tables.log import LogStream
from app.tables.workspace import Workspace

_SEPARATOR = "/"


async def expire(session: AsyncSession) -> int:
    """Take away what is ripe: from now on it is answered with 410; how many streams.

    An image is shared, and so are the logs of its builds: the workspace that keeps them longest
    decides, and one without a limit keeps them.
    """
    image_id = func.split_part(LogStream.owner, _SEPARATOR, 1)
    longest_days = (
        select(func.max(Workspace.log_retention_days))
        .join(WorkspaceImage, WorkspaceImage.workspace_id == Workspace.id)
        .where(WorkspaceImage.image_id == image_id)
        # One that keeps them for ever leaves nothing to compare with.
        .having(func.bool_and(Workspace.log_retention_days.is_not(None)))
        .correlate(LogStream)
        .scalar_subquery()
    )
    age = func.make_interval(0, 0, 0, cast(longest_days, Integer))
    ripe = update(LogStream).where(
        func.strpos(LogStream.owner, _SEPARATOR) > 0,
        LogStream.sha256.is_not(None),
        LogStream.expired_at.is_(None),
        LogStream.created_at < func.clock_timestamp() - age,
    )
    gone = await session.execute(
        ripe.values(expired_at=func.clock_timestamp())
        .returning(LogStream.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
