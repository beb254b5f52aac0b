"""Bringing a backup back."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import tenacity
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.backups import keys
from app.backups.database import fill
from app.backups.errors import BackupError
from app.backups.folder import Backup, BackupFolder, Manifest
from app.backups.objects import copy_objects
from app.backups.saving import Progress
from app.kernel.config import Settings
from app.storage.configured import make_object_store

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_LEAVING_SECONDS = 3.0
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
_TABLES = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


@dataclass(frozen=True)
class Restored:
    """What was brought back.

    Attributes:
        backup: which one.
        manifest: what is known of it.
        lost: objects that its rows name and that are nowhere intact.
        missing_keys: keys that it was made with and that are not here, in words.
        your_files: files of the operator's own into which its keys have to be put.
    """

    backup: Backup
    manifest: Manifest
    lost: list[str] = field(default_factory=list)
    missing_keys: list[str] = field(default_factory=list)
    your_files: list[Path] = field(default_factory=list)


async def check(url: str, manifest: Manifest, *, overwrite: bool) -> None:
    """See whether the database may be filled; changes nothing.

    Raises:
        BackupError: others are connected to it, there is something in it and `overwrite` is not
            said, or the backup is of a later release.
    """
    script = ScriptDirectory(str(MIGRATIONS))
    try:
        script.get_revision(manifest.revision)
    except CommandError:
        raise BackupError(
            f"the backup is of a later release, whose database has version {manifest.revision}: "
            "bring it back with that one"
        ) from None
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            others = await _others(connection)
            tables = int(await connection.scalar(_TABLES) or 0)
    finally:
        await engine.dispose()
    if others:
        raise BackupError(f"{others} others are connected to the database: stop API and workers")
    if tables and not overwrite:
        raise BackupError("the database holds something already: --overwrite replaces all of it")


async def _others(connection: AsyncConnection) -> int:
    """How many others are connected; those that are just leaving are waited for."""

    async def ask() -> int:
        found = int(await connection.scalar(_OTHERS) or 0)
        await connection.rollback()
        return found

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_delay(_LEAVING_SECONDS),
        wait=tenacity.wait_fixed(0.2),
        retry=tenacity.retry_if_result(bool),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else 0,
    )
    return int(await retrying(ask))


async def restore(
    settings: Settings,
    url: str,
    folder: BackupFolder,
    *,
    name: str | None,
    overwrite: bool,
    without_keys: bool,
    progress: Progress,
) -> Restored:
    """Bring a backup back: bytes, then keys, then, at once or not at all, the rows.

    Whatever breaks it off, it can be run again: until the last moment the database is as it was.

    Args:
        settings: of the installation.
        url: of its database; nobody else is connected to it.
        folder: of the backups.
        name: which one; the last one without.
        overwrite: whether what is in the database may go.
        without_keys: go on though keys are missing.
        progress: told what is done.

    Raises:
        BackupError: it cannot be, or must not be.
    """
    backup = folder.named(name)
    manifest = await asyncio.to_thread(backup.manifest)
    await check(url, manifest, overwrite=overwrite)
    keys.check(settings, backup, overwrite=overwrite)
    missing = keys.missing(settings, backup, manifest)
    if missing and not without_keys:
        raise BackupError(
            "keys that the backup was made with are not here: "
            + "; ".join(missing)
            + ". Put them there first; or, with --without-keys, do without secrets, and without "
            "runs and replicas that were under way"
        )
    lost = await _bring_objects(settings, folder, backup, manifest, progress)
    step = progress("database", 1)
    your_files = keys.operators(settings, backup)
    # Last before the rows: what the database holds now is read with the keys that are here now.
    aside = keys.put_back(settings, backup)
    try:
        await asyncio.to_thread(fill, url, backup.dump_path)
    except BackupError as error:
        raise _with_keys_told(error, aside) from None
    step()
    return Restored(backup, manifest, lost, missing, your_files)


def _with_keys_told(error: BackupError, aside: list[Path]) -> BackupError:
    if not aside:
        return error
    names = ", ".join(str(path) for path in aside)
    return BackupError(
        f"{error}. The keys in place are the backup's now; those of the database as it is were set "
        f"aside: {names}"
    )


async def _bring_objects(
    settings: Settings,
    folder: BackupFolder,
    backup: Backup,
    manifest: Manifest,
    progress: Progress,
) -> list[str]:
    """Have all objects in the store; returns those that are nowhere."""
    digests = backup.digests()
    target = make_object_store(settings)
    if not manifest.has_objects:
        return await target.missing(digests)
    step = progress("objects", len(digests))
    copied = await asyncio.to_thread(copy_objects, digests, folder.objects, target, step=step)
    return copied.lost
