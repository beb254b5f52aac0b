"""What a worker does again and again beside its rows."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.kernel.odd_rows import ODD
from app.providers.base import ProviderError
from app.storage.errors import StorageError
from workers import measures

_log = structlog.get_logger(__name__)


async def regularly(
    work: Callable[[], Awaitable[object]],
    name: str,
    *,
    every_seconds: float,
    waits_first: bool = False,
) -> None:
    """Do it, wait, do it again; an outage of database, provider or store only delays it.

    Args:
        work: what is done; several workers may do so at once.
        name: of it, for logs and figures.
        every_seconds: how long to wait in between.
        waits_first: wait before the first time as well.
    """
    if waits_first:
        await asyncio.sleep(every_seconds)
    while True:
        try:
            await work()
        except (ProviderError, SQLAlchemyError, StorageError, OSError) as error:
            # OSError: another worker may be removing the same folder. Whatever ended this loop
            # would end the worker's poller beside it.
            measures.COLLECTIONS_FAILED.labels(name).inc()
            _log.warning("collection_failed", collector=name, error=str(error).partition("\n")[0])
        except ODD:
            # A row that is not as it should be; what it is has to be looked for.
            measures.COLLECTIONS_FAILED.labels(name).inc()
            _log.exception("collection_failed", collector=name)
        await asyncio.sleep(every_seconds)
