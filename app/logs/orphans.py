"""Logs of deployments and of nodes that load models, which nobody can ask for any more."""

from datetime import timedelta

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.logs import repository
from app.tables.deployment import Deployment
from app.tables.log import LogStream
from app.tables.model import ModelCapture

_FOLLOWERS_HAVE = timedelta(days=1)
"""So long who follows a log whose owner is gone may take to read its end."""


async def expire(session: AsyncSession) -> int:
    """Have logs without an owner go, first their bytes and a day later their rows.

    Returns:
        How many streams have lost their bytes now.
    """
    is_orphan = or_(
        and_(
            LogStream.owner.startswith("dep_", autoescape=True),
            ~exists().where(Deployment.id == LogStream.owner),
        ),
        and_(
            LogStream.owner.startswith("capture_", autoescape=True),
            ~exists().where(
                ModelCapture.id == LogStream.owner, ModelCapture.node_name.is_not(None)
            ),
        ),
    )
    over = LogStream.expired_at < func.clock_timestamp() - _FOLLOWERS_HAVE
    owners = select(LogStream.owner).where(is_orphan, over).distinct()
    for owner in (await session.scalars(owners)).all():
        await repository.delete_all(session, owner)
    fresh = await session.execute(
        update(LogStream)
        .where(is_orphan, LogStream.expired_at.is_(None))
        .values(expired_at=func.clock_timestamp())
        .returning(LogStream.id)
        .execution_options(synchronize_session=False)
    )
    return len(fresh.all())
