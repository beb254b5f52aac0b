"""The folder of backups.

``objects/`` holds the bytes of all backups, each once, by SHA-256; ``backups/TIME/`` what one
backup has of its own: the database, the list of its objects, the keys where they were asked for,
and, written last, ``manifest.json``. A backup without it was broken off, and counts for nothing.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from app.backups.errors import BackupError
from app.storage.objects import ObjectStore
from app.storage.sealing import sync_folder
from app.storage.writer import sha256_of

_MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """What is known of one backup; written last.

    Attributes:
        made_at: the moment whose rows it holds.
        revision: the database's version.
        dump_sha256: of the file of the database.
        list_sha256: of the list of objects.
        objects_count: how many objects its rows name.
        objects_bytes: how large those are that are in it.
        has_objects: whether their bytes are in it, or only their names.
        lost: objects that the store itself had lost, or that were altered there.
        has_keys: whether the keys are in it.
        encryption_keys: ids of the keys that secrets are encrypted with.
        signing_keys: ids of the keys that tokens of runs and nodes are signed with.
        lost_keys: ids of keys that secrets are encrypted with, and that were not there any more.
    """

    made_at: datetime
    revision: str
    dump_sha256: str
    list_sha256: str
    objects_count: int
    objects_bytes: int
    has_objects: bool
    lost: list[str]
    has_keys: bool
    encryption_keys: list[str]
    signing_keys: list[str]
    lost_keys: list[str] = []


@dataclass(frozen=True)
class Backup:
    """One backup's own folder."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called: its time."""
        return self.path.name

    @property
    def dump_path(self) -> Path:
        """The database."""
        return self.path / "database.dump"

    @property
    def list_path(self) -> Path:
        """The SHA-256 of its objects, one a line."""
        return self.path / "objects.txt"

    @property
    def keys_path(self) -> Path:
        """The folder of keys."""
        return self.path / "keys"

    def digests(self) -> list[str]:
        """The objects that its rows name."""
        return self.list_path.read_text().split()

    def finish(self, manifest: Manifest) -> None:
        """Make it a whole one."""
        draft = self.path / f"{_MANIFEST}.new"
        draft.write_text(manifest.model_dump_json(indent=2) + "\n")
        for path in self.path.rglob("*"):
            _sync(path)
        draft.rename(self.path / _MANIFEST)
        sync_folder(self.path)
        sync_folder(self.path.parent)

    def manifest(self) -> Manifest:
        """What is known of it.

        Raises:
            BackupError: its files are not those that were written.
        """
        try:
            manifest = Manifest.model_validate_json((self.path / _MANIFEST).read_bytes())
        except ValidationError as error:
            raise BackupError(f"{self.path / _MANIFEST} cannot be read: {error}") from None
        for path, sha256 in (
            (self.dump_path, manifest.dump_sha256),
            (self.list_path, manifest.list_sha256),
        ):
            if not path.exists() or sha256_of(path) != sha256:
                raise BackupError(f"{path} is missing, or not what was written: take another one")
        return manifest


class BackupFolder:
    """Backups that share their objects.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().resolve()

    @property
    def objects(self) -> ObjectStore:
        """The bytes of all of them."""
        return ObjectStore(self._root / "objects")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only one who writes to it for the block; made when absent, closed to others.

        Raises:
            BackupError: somebody else does, or there are other things in the folder.
        """
        if self._root.is_dir() and any(self._root.iterdir()) and not self._own.is_dir():
            raise BackupError(f"{self._root} holds other things: name a new or an empty folder")
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        self._own.mkdir(exist_ok=True)
        with (self._root / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"another backup is being made in {self._root}") from None
            self.objects.clean_incoming(older_than_seconds=0)
            yield

    def begin(self) -> Backup:
        """Make a new one's folder."""
        path = self._own / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        path.mkdir(mode=0o700)
        return Backup(path)

    def whole(self) -> list[Backup]:
        """Those that were finished, the oldest first."""
        return [backup for backup in self._all() if (backup.path / _MANIFEST).is_file()]

    def named(self, name: str | None) -> Backup:
        """The whole one of this name; the last one without.

        Raises:
            BackupError: there is none.
        """
        found = [backup for backup in self.whole() if name in (None, backup.name)]
        if found:
            return found[-1]
        known = ", ".join(backup.name for backup in self.whole())
        raise BackupError(
            f"there is no whole backup {name or ''} in {self._root}"
            + (f": there are {known}" if known else "")
        )

    def keep_last(self, count: int) -> tuple[int, int]:
        """Remove all but the last `count` whole ones, and the objects of none that stays.

        Returns:
            How many backups went, and how many objects.
        """
        staying = self.whole()[-count:]
        gone = [backup for backup in self._all() if backup not in staying]
        for backup in gone:
            # First: what is half removed is no whole one.
            (backup.path / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(backup.path)
        named = {digest for backup in staying for digest in backup.digests()}
        removed = 0
        for path in (self._root / "objects" / "sha256").glob("??/*"):
            if path.name not in named:
                path.unlink()
                removed += 1
        return len(gone), removed

    @property
    def _own(self) -> Path:
        return self._root / "backups"

    def _all(self) -> Iterator[Backup]:
        if self._own.is_dir():
            yield from (Backup(path) for path in sorted(self._own.iterdir()) if path.is_dir())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
