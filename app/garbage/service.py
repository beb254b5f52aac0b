"""Collection of bytes that nothing refers to: first their names, then the objects themselves."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread

from app.garbage import hold, repository
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.storage.objects import ObjectStore
from app.storage.remote import RemoteObjects
from app.storage.unused import UnusedObjects

_OBJECTS_AT_ONCE = 5000
_REMOTE_OBJECTS_AT_ONCE = 50
"""Few: between a look at references and the removal of the last of these nobody looks again."""
_CACHE_SPARED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What one collection did."""

    names_count: int
    objects_count: int
    freed_bytes: int


async def collect(
    database: Database,
    objects: ObjectStore,
    *,
    unused_for_seconds: float,
    sparing: Sequence[str] = (),
) -> Collected:
    """Remove what nothing refers to and nobody touched for so long; safe beside everything else.

    An interrupted collection loses nothing: what it had set aside is judged again by the next.
    While a backup is being made nothing is collected.

    Args:
        database: where references are.
        objects: where bytes are.
        unused_for_seconds: how long bytes stay after they were last sent or asked about.
        sparing: digests that stay in any case.
    """
    async with database.session() as lasting:
        if not await hold.may_collect(lasting):
            return Collected(names_count=0, objects_count=0, freed_bytes=0)
        return await _collect(
            database, objects, unused_for_seconds=unused_for_seconds, sparing=sparing
        )


async def _collect(
    database: Database, objects: ObjectStore, *, unused_for_seconds: float, sparing: Sequence[str]
) -> Collected:
    async with database.session() as session:
        names_count = await repository.delete_unreferenced(
            session, unused_for_seconds=unused_for_seconds, sparing=sparing
        )
    reached(CrashPoint.NAMES_DELETED)
    unused = UnusedObjects(objects.root)
    taken = await anyio.to_thread.run_sync(unused.leftovers)
    freed_bytes = await _judge(database, unused, taken)
    count = len(taken)
    batches = unused.batches(size=_OBJECTS_AT_ONCE)
    while batch := await anyio.to_thread.run_sync(next, batches, None):
        async with database.session() as session:
            held = await repository.held(session, batch)
        loose = [digest for digest in batch if digest not in held and digest not in sparing]

        def set_aside(loose: list[str] = loose) -> list[str]:
            return unused.set_aside(loose, unused_for_seconds=unused_for_seconds)

        taken = await anyio.to_thread.run_sync(set_aside)
        reached(CrashPoint.OBJECTS_SET_ASIDE)
        freed_bytes += await _judge(database, unused, taken)
        count += len(taken)
    count += await _collect_remote(
        database, objects, unused_for_seconds=unused_for_seconds, sparing=sparing
    )
    return Collected(names_count=names_count, objects_count=count, freed_bytes=freed_bytes)


async def shrink_cache(objects: ObjectStore, *, max_bytes: int) -> int:
    """With a bucket, keep the local folder to its size; returns the bytes freed."""
    if objects.remote is None:
        return 0
    unused = UnusedObjects(objects.root)
    return await anyio.to_thread.run_sync(
        functools.partial(unused.shrink_to, max_bytes, spared_seconds=_CACHE_SPARED_SECONDS)
    )


async def _collect_remote(
    database: Database,
    objects: ObjectStore,
    *,
    unused_for_seconds: float,
    sparing: Sequence[str],
) -> int:
    """The same in the bucket, which knows no renaming; returns how many objects went.

    Whoever stores bytes that lie there for long stores them again, which makes them young: they
    are not looked at here. For the moment between the look and the removal there is a second
    look afterwards, and the writer's copy in the local folder.
    """
    remote = objects.remote
    if remote is None:
        return 0
    count = 0
    batches = remote.batches(size=_OBJECTS_AT_ONCE, unused_for_seconds=unused_for_seconds)
    while batch := await anyio.to_thread.run_sync(next, batches, None):
        wanted = [digest for digest in batch if digest not in sparing]
        for start in range(0, len(wanted), _REMOTE_OBJECTS_AT_ONCE):
            some = wanted[start : start + _REMOTE_OBJECTS_AT_ONCE]
            count += await _remove_remote(database, objects, remote, some)
    return count


async def _remove_remote(
    database: Database, objects: ObjectStore, remote: RemoteObjects, digests: list[str]
) -> int:
    """Remove those that nobody holds from the bucket; returns how many went."""
    async with database.session() as session:
        held = await repository.held(session, digests)
    loose = [digest for digest in digests if digest not in held]
    if not loose:
        return 0
    await anyio.to_thread.run_sync(remote.delete, loose)
    async with database.session() as session:
        again = await repository.held(session, loose)
    for digest in again:
        path = objects.local_path(digest)
        if path is not None:
            await anyio.to_thread.run_sync(remote.store, path, digest)
    return len(loose) - len(again)


async def _judge(database: Database, unused: UnusedObjects, aside: list[str]) -> int:
    """Put back what got a reference meanwhile, drop the rest; returns the bytes freed."""
    if not aside:
        return 0
    async with database.session() as session:
        held = await repository.held(session, aside)
    await anyio.to_thread.run_sync(unused.restore, held)
    return await anyio.to_thread.run_sync(unused.drop, [d for d in aside if d not in held])
