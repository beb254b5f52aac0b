"""Collecting uploads that nobody goes on with, and files that no upload is left of."""

import functools

import anyio.to_thread

from app.kernel.db import Database
from app.storage.objects import ObjectStore
from app.tables.upload import Upload
from app.uploads import parts, repository, service

_GIVEN_UP_AT_ONCE = 1000
_STRAYS_AT_ONCE = 1000
_STRAYS_KEEP_SECONDS = 6 * 3600.0


async def give_up_abandoned(database: Database, objects: ObjectStore) -> int:
    """Give up the uploads that nobody has gone on with for days; returns how many."""
    count, is_over = 0, False
    while not is_over:
        async with database.session() as session:
            rows = await repository.abandoned(
                session, Upload, keep_seconds=service.KEEP_SECONDS, limit=_GIVEN_UP_AT_ONCE
            )
            for row in rows:
                await service.give_up(session, objects, row)
        count += len(rows)
        is_over = len(rows) < _GIVEN_UP_AT_ONCE
    count += await parts.give_up_abandoned(database, objects, keep_seconds=service.KEEP_SECONDS)
    await _remove_strays(database, objects)
    return count


async def _remove_strays(database: Database, objects: ObjectStore) -> None:
    """Remove files that no upload is left of: their workspace was deleted, or just they were.

    What nodes send in pieces is of no upload either.
    """
    names = await anyio.to_thread.run_sync(
        functools.partial(objects.old_partial_names, older_than_seconds=_STRAYS_KEEP_SECONDS)
    )
    for start in range(0, len(names), _STRAYS_AT_ONCE):
        some = names[start : start + _STRAYS_AT_ONCE]
        async with database.session() as session:
            known = await repository.known(session, [parts.upload_id_of(name) for name in some])
        for name in some:
            if parts.upload_id_of(name) in known:
                continue
            path = objects.partial_path(name)
            await anyio.to_thread.run_sync(functools.partial(path.unlink, missing_ok=True))
