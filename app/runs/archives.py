"""What goes into an archive of a run's files."""

from functools import partial

from app.kernel.db import Database
from app.logs.repository import list_streams
from app.logs.service import LogReader
from app.runs import repository
from app.storage.objects import ObjectStore
from app.storage.tar_stream import TarEntry
from app.tables.run import Run


async def archive_entries(
    database: Database, objects: ObjectStore, run: Run, *, prefix: str
) -> list[TarEntry]:
    """Files under a prefix; the logs of a run that goes on are those bytes that are here now.

    Args:
        database: for a short transaction, and for reading logs later.
        objects: where everything else lies.
        run: the run.
        prefix: how the paths begin.
    """
    async with database.session() as session:
        # In this order: a log that is sealed in between is a stream here and a file there.
        streams = await list_streams(session, run.id)
        rows = await repository.all_files(session, run.id, prefix=prefix)
    entries = [
        TarEntry(path=row.path, sha256=row.sha256, size_bytes=row.size_bytes) for row in rows
    ]
    sealed = {row.path for row in rows if row.origin == "log"}
    for stream in streams:
        # Sealed ones are files already; the one without a name is all of them merged.
        if not stream.name or stream.sha256 is not None:
            continue
        is_current = stream.attempt == max(1, run.attempt)
        path = stream.name if is_current else f"attempts/{stream.attempt}/{stream.name}"
        if path in sealed or not path.startswith(prefix):
            continue
        reader = LogReader(
            database, objects, owner=run.id, attempt=stream.attempt, name=stream.name
        )
        read = partial(reader.read, 0, stream.length_bytes)
        entries.append(TarEntry(path, "", stream.length_bytes, read))
    return entries
