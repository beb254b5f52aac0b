"""PostgreSQL's own programs, and the database that they work on."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import make_url

from app.backups.errors import BackupError
from app.embedded.claims import locked
from app.embedded.errors import AlreadyRunning
from app.embedded.layout import Layout, data_folder
from app.embedded.postgres import ENVIRONMENT, program, serving
from app.kernel.config import Settings

_COPY_BYTES = 1024 * 1024
_OWNERLESS = ("--no-owner", "--no-privileges")

# The dump makes the schema; what was there goes in the transaction in which that comes.
_BEFORE = """\
BEGIN;
DROP SCHEMA public CASCADE;
"""
# Environments that were built on a machine are on that machine: they are looked for, else built.
_AFTER = """
UPDATE public.images SET state = 'Queued', python = NULL, reference = NULL,
    next_check_at = clock_timestamp()
WHERE state = 'Ready' AND (reference IS NULL OR position('@' in reference) = 0);
COMMIT;
"""


@contextmanager
def database_to_save(settings: Settings) -> Iterator[str]:
    """The SQLAlchemy address of this installation's database, which answers for the block.

    Without TRAINWRIGHT_DATABASE_URL it is the embedded one, which is started where it is stopped.

    Raises:
        BackupError: there is none.
    """
    given = settings.database_url.get_secret_value()
    if given:
        yield given
        return
    folder = settings.data_dir.expanduser().resolve()
    if not (folder / "postgres").is_dir():
        raise BackupError(
            f"there is no database in {folder}: set TRAINWRIGHT_DATA_DIR or "
            "TRAINWRIGHT_DATABASE_URL to those of the installation"
        )
    layout = Layout(folder)
    try:
        lock = locked(layout.lock_path)
        lock.__enter__()
    except AlreadyRunning:
        yield layout.postgres.url()
        return
    try:
        with serving(layout.postgres):
            yield layout.postgres.url()
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def database_to_fill(settings: Settings) -> Iterator[str]:
    """The address of the database to bring a backup back to, of a stack that is not running.

    Raises:
        EmbeddedError: the embedded stack is running, or cannot be started.
    """
    given = settings.database_url.get_secret_value()
    if given:
        yield given
        return
    layout = Layout(data_folder(settings.data_dir))
    with locked(layout.lock_path), serving(layout.postgres):
        # The database may be of an older version than what ran here before.
        layout.forget_migrated()
        yield layout.postgres.url()


def dump(url: str, *, snapshot: str, to: Path) -> None:
    """Write all rows as they were in `snapshot` (PostgreSQL's name of it) to a file.

    Raises:
        BackupError: pg_dump failed.
    """
    argv = ("--format=custom", *_OWNERLESS, "--schema=public", f"--snapshot={snapshot}")
    address, environment = _client(url)
    to.touch(mode=0o600)
    result = subprocess.run(
        [str(program("pg_dump")), *argv, f"--file={to}", f"--dbname={address}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise BackupError(f"pg_dump failed: {result.stderr.strip()}")


def fill(url: str, dumped: Path) -> None:
    """Replace what the database holds by what was dumped, in one transaction: all of it or nothing.

    Raises:
        BackupError: the file cannot be read, or the database refuses; it is as it was.
    """
    address, environment = _client(url)
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as reading_said:
        writing = subprocess.Popen(
            [str(program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", address],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        reading = subprocess.Popen(
            [str(program("pg_restore")), *_OWNERLESS, "--file=-", str(dumped)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=reading_said,
        )
        try:
            is_whole = _pass_on(reading, writing)
        finally:
            # Without COMMIT on its input the server takes everything back.
            reading.kill()
            reading.wait()
            if writing.stdin is not None and not writing.stdin.closed:
                _close(writing.stdin)
            writing.wait()
        if not is_whole or writing.returncode != 0:
            words = _last_words(said) or _last_words(reading_said)
            raise BackupError(f"the database cannot be filled, and is as it was: {words}")


def _pass_on(reading: "subprocess.Popen[bytes]", writing: "subprocess.Popen[bytes]") -> bool:
    """Say whether everything arrived; the transaction is committed only then."""
    assert reading.stdout is not None
    assert writing.stdin is not None
    try:
        writing.stdin.write(_BEFORE.encode())
        while chunk := reading.stdout.read(_COPY_BYTES):
            writing.stdin.write(chunk)
        if reading.wait() != 0:
            return False
        writing.stdin.write(_AFTER.encode())
        writing.stdin.close()
    except BrokenPipeError:
        return False
    return True


def _close(stdin: IO[bytes]) -> None:
    try:
        stdin.close()
    except BrokenPipeError:
        return


def _last_words(file: IO[str]) -> str:
    file.seek(0)
    return "\n".join(file.read().strip().splitlines()[-5:])


def _client(url: str) -> tuple[str, dict[str, str]]:
    """An address as PostgreSQL's programs take it, and an environment: the password's place."""
    parts = make_url(url)
    environment = {**os.environ, **ENVIRONMENT}
    if parts.password is not None:
        environment["PGPASSWORD"] = str(parts.password)
    plain = parts.set(drivername="postgresql", password=None)
    return plain.render_as_string(hide_password=False), environment
