"""Making a backup, beside everything that goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app.backups import keys
from app.backups.database import dump
from app.backups.errors import BackupError
from app.backups.folder import Backup, BackupFolder, Manifest
from app.backups.objects import Copied, copy_objects
from app.garbage import hold, repository
from app.kernel.config import Settings
from app.secrets import repository as secrets
from app.storage.configured import make_object_store
from app.storage.writer import sha256_of

Progress = Callable[[str, int], Callable[[], None]]
"""Told what begins and of how many steps it is; returns what to call after each."""


@dataclass(frozen=True)
class Saved:
    """A backup that was made."""

    backup: Backup
    manifest: Manifest
    copied: Copied


@dataclass(frozen=True)
class _Rows:
    made_at: datetime
    revision: str
    digests: list[str]
    keys: keys.Saved


async def save(
    settings: Settings,
    url: str,
    folder: BackupFolder,
    *,
    with_keys: bool,
    with_objects: bool,
    progress: Progress,
) -> Saved:
    """Make a backup: rows as of one moment, the keys of then, and the bytes that these name.

    From before that moment until the bytes are copied nothing is collected as unused. Nothing else
    waits for it. What is broken off is left out of account by `BackupFolder.whole`.

    Args:
        settings: of the installation.
        url: of its database.
        folder: where to; the caller has claimed it.
        with_keys: whether the keys are put into it.
        with_objects: whether bytes are put into it, or only their names.
        progress: told what is done.

    Raises:
        BackupError: pg_dump failed, the keys cannot be read, or the database was lost meanwhile.
        OSError: the folder cannot be written.
    """
    engine = create_async_engine(url, poolclass=NullPool)
    backup = folder.begin()
    try:
        async with engine.connect() as holding:
            await hold.keep_everything(holding)
            rows = await _save_rows(
                engine, url, settings, backup, with_keys=with_keys, step=progress("database", 1)
            )
            copied = Copied()
            if with_objects:
                step = progress("objects", len(rows.digests))
                source = make_object_store(settings)
                copied = await asyncio.to_thread(
                    copy_objects, rows.digests, source, folder.objects, step=step
                )
            if not await hold.is_kept(holding):
                raise BackupError(
                    "the connection to the database was lost, so that objects may have been "
                    "collected meanwhile: make the backup again"
                )
    finally:
        await engine.dispose()
    manifest = Manifest(
        made_at=rows.made_at,
        revision=rows.revision,
        dump_sha256=await asyncio.to_thread(sha256_of, backup.dump_path),
        list_sha256=sha256_of(backup.list_path),
        objects_count=len(rows.digests),
        objects_bytes=copied.size_bytes,
        has_objects=with_objects,
        lost=copied.lost,
        has_keys=with_keys,
        encryption_keys=rows.keys.encryption,
        signing_keys=rows.keys.signing,
        lost_keys=rows.keys.lost,
    )
    await asyncio.to_thread(backup.finish, manifest)
    return Saved(backup, manifest, copied)


async def _save_rows(
    engine: AsyncEngine,
    url: str,
    settings: Settings,
    backup: Backup,
    *,
    with_keys: bool,
    step: Callable[[], None],
) -> _Rows:
    async with _one_moment(engine) as connection:
        async with engine.begin() as steady:
            # A rotation of keys is wholly before these rows and keys, or goes on after them.
            await secrets.let_no_key_be_added(steady)
            snapshot = str(await connection.scalar(select(func.pg_export_snapshot())))
            async with AsyncSession(connection) as session:
                used = await secrets.key_ids(session)
            saved = await asyncio.to_thread(
                keys.save, settings, backup, with_copies=with_keys, used=used
            )
        async with AsyncSession(connection) as session:
            rows = _Rows(
                made_at=(await session.execute(select(func.transaction_timestamp()))).scalar_one(),
                revision=await _revision(session),
                digests=await repository.everything(session),
                keys=saved,
            )
        _write_list(backup.list_path, rows.digests)
        await asyncio.to_thread(dump, url, snapshot=snapshot, to=backup.dump_path)
    step()
    return rows


@asynccontextmanager
async def _one_moment(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees the rows of one moment, however long it lasts."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        async with connection.begin():
            yield connection


async def _revision(session: AsyncSession) -> str:
    found = await session.scalar(text("SELECT version_num FROM alembic_version"))
    return str(found)


def _write_list(path: Path, digests: list[str]) -> None:
    path.write_text("".join(f"{digest}\n" for digest in digests))
