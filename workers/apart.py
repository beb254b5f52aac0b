"""Work on many runs in one transaction, each of them apart from the others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import DomainError
from app.kernel.odd_rows import ODD, ODD_ROWS
from app.tables.run import Run

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def apart(
    session: AsyncSession, run_id: str, failed: dict[str, str] | None = None
) -> AsyncIterator[None]:
    """A part of a transaction that is undone alone when the rows of one run do not allow it.

    Args:
        session: the transaction.
        run_id: the run.
        failed: told the type of the error, by run; None: the logs alone are told.
    """
    try:
        async with session.begin_nested():
            yield
    except (SQLAlchemyError, DomainError, *ODD) as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        ODD_ROWS.labels(Run.__tablename__).inc()
        _log.exception("run_not_written", run_id=run_id)
        if failed is not None:
            failed[run_id] = type(error).__name__
