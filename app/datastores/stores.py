"""Opened datastores: where their files are read, listed and written. Blocking, for a thread.

Files of web servers are read by the guarded fetcher that web datasets have.
"""

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from app.datastores.errors import DatastoreRefused, NotWritable

SCHEME = "datastore://"
_PART = ".part"
_PART_NAME = re.compile(r"\.[0-9a-f]{16}\.part")
_NO_FILE = frozenset({errno.ELOOP, errno.ENAMETOOLONG})
_NO_PLACE = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG})
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Opened:
    """A file that is being read; close it.

    Attributes:
        etag: of what is read.
        size_bytes: of all of it.
        read: gives its bytes from one place up to another.
        close: lets go of it.
    """

    etag: str
    size_bytes: int
    read: Callable[[int, int], Iterator[bytes]]
    close: Callable[[], None]

    def chunks(self) -> Iterator[bytes]:
        """All its bytes."""
        return self.read(0, self.size_bytes)


Listed = tuple[str, int]
"""A path below the datastore, and a size in bytes."""


class Store(Protocol):
    """A datastore that was opened."""

    def address(self, path: str) -> str:
        """The web address at which a file is read; empty: it is read with `open`."""

    def etag(self, path: str) -> str:
        """What changes when the file does.

        Raises:
            OSError: there is no such file (FileNotFoundError), or it may not be read.
            Unavailable: the server does not answer.
        """

    def open(self, path: str) -> "Opened":
        """A file.

        Raises:
            OSError, Unavailable: as `etag`, also while it is being read.
        """

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Files whose path begins so.

        Raises:
            DatastoreRefused: they cannot be listed.
            Unavailable: the server does not answer.
        """

    def put(self, path: str, source: Path) -> None:
        """Write a file.

        Raises:
            NotWritable: nothing can be written there, or not under this path.
            Unavailable: the server does not answer.
        """


@dataclass(frozen=True)
class FolderStore:
    """A folder of this machine."""

    root: Path

    def address(self, path: str) -> str:
        """Files are on this machine."""
        return ""

    def etag(self, path: str) -> str:
        """When the file was written, its size, and which one it is."""
        return _etag(self._file(path).stat())

    def open(self, path: str) -> Opened:
        """The file."""
        file = self._file(path).open("rb")
        status = os.fstat(file.fileno())
        return Opened(_etag(status), status.st_size, partial(_pieces, file), file.close)

    def _file(self, path: str) -> Path:
        """The file, if it is really below the folder, whatever links lead to."""
        found = resolved(self.root / path, strict=True)
        if not found.is_relative_to(resolved(self.root)) or not found.is_file():
            raise FileNotFoundError(path)
        return found

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Files below the folder but those being written; links are not followed."""
        start = self.root / prefix.rpartition("/")[0]
        if not resolved(start).is_relative_to(resolved(self.root)):
            return
        for folder, folders, files in os.walk(start):
            folders.sort()
            for name in sorted(files):
                file = Path(folder) / name
                path = file.relative_to(self.root).as_posix()
                if not path.startswith(prefix) or _is_part(name):
                    continue
                with suppress(FileNotFoundError):  # it was removed just now
                    status = file.lstat()
                    if stat.S_ISREG(status.st_mode):
                        yield path, status.st_size

    def put(self, path: str, source: Path) -> None:
        """Write a file beside its place, then move it there."""
        with _unwritable():
            target = self.root / path
            self._check_parent(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._check_parent(target)
            # A name that no other upload has, however long that of the file is.
            part = target.with_name(f".{secrets.token_hex(8)}{_PART}")
            try:
                with source.open("rb") as content, part.open("xb") as file:
                    while chunk := content.read(CHUNK_BYTES):
                        file.write(chunk)
                    os.fsync(file.fileno())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def remove_parts(self, *, older_than_seconds: float) -> int:
        """Remove what uploads left that did not end, untouched for so long; how many files.

        An upload that goes on touches its file with each piece.
        """
        removed = 0
        oldest = time.time() - older_than_seconds
        for folder, _, files in os.walk(self.root):
            for name in filter(_is_part, files):
                file = Path(folder) / name
                with suppress(OSError):  # it has gone, or nothing can be removed there
                    status = file.lstat()
                    if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest:
                        file.unlink()
                        removed += 1
        return removed

    def _check_parent(self, target: Path) -> None:
        if not resolved(target.parent).is_relative_to(resolved(self.root)):
            raise NotWritable("The path leads out of the folder.")


@dataclass(frozen=True)
class WebStore:
    """Files below a web address."""

    base_url: str

    def address(self, path: str) -> str:
        """The address."""
        return f"{self.base_url.rstrip('/')}/{quote(path)}"

    def etag(self, path: str) -> str:
        """The fetcher knows it."""
        raise FileNotFoundError(path)

    def open(self, path: str) -> Opened:
        """The fetcher reads it."""
        raise FileNotFoundError(path)

    def listed(self, prefix: str) -> Iterator[Listed]:
        """A web server does not say what it has."""
        raise DatastoreRefused("A web server's files cannot be listed: name each of them.")

    def put(self, path: str, source: Path) -> None:
        """A web server takes nothing."""
        raise NotWritable("Nothing can be written to a web server.")


def resolved(path: Path, *, strict: bool = False) -> Path:
    """Where a path leads, links followed.

    Raises:
        FileNotFoundError: nowhere: links lead to themselves, or a name is too long; where
            `strict`, also: nothing is there.
    """
    try:
        return path.resolve(strict=strict)
    except RuntimeError as error:  # links that lead to themselves
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise FileNotFoundError(str(path)) from error


def _is_part(name: str) -> bool:
    return _PART_NAME.fullmatch(name) is not None


@contextmanager
def _unwritable() -> Iterator[None]:
    """Tell a path that no file can have from a folder that fails."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        raise NotWritable(
            "No file can have this path here: a file is where a folder would have to be, or the "
            "other way round, or a name is too long."
        ) from error


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
        start += len(chunk)
        yield chunk


def _etag(status: os.stat_result) -> str:
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
