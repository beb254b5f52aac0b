"""A file that grows piece by piece until it becomes an object."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from app.storage.errors import StorageError


class PartialBusy(StorageError):
    """Another process, or another request, is writing to the file."""

    code = "partial_busy"


class PartialFile:
    """Blocking, exclusive writing from an offset; for use in a thread as a context manager.

    The lock is the kernel's: it ends with the process that holds it, however that dies. Entering
    changes no byte: whoever holds the lock first sees whether the offset is still true, then calls
    `cut`.

    Args:
        path: of the file; made when absent only where nothing of it can be missing.
        offset_bytes: where writing begins; 0 once it is entered, if the file is shorter.

    Raises:
        PartialBusy: on entering, when somebody else writes, or has just moved the file away.
        FileNotFoundError: on entering, when it is absent and `offset_bytes` is not 0.
    """

    def __init__(self, path: Path, *, offset_bytes: int) -> None:
        self._path = path
        self._descriptor = -1
        self._digest = hashlib.sha256()
        self._start_bytes = offset_bytes
        self.offset_bytes = offset_bytes

    def __enter__(self) -> Self:
        self._descriptor = _open_locked(
            self._path, os.O_RDWR if self.offset_bytes else os.O_RDWR | os.O_CREAT
        )
        if os.fstat(self._descriptor).st_size < self.offset_bytes:
            # The file is younger than its row: a disk was lost. Begin again.
            self._start_bytes = self.offset_bytes = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def cut(self) -> None:
        """Cut off what lies behind the offset; before anything is written."""
        os.ftruncate(self._descriptor, self.offset_bytes)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._digest.update(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, self.offset_bytes)
            self.offset_bytes += written
            view = view[written:]

    def sync(self) -> int:
        """Make what was written survive a power cut; returns the offset."""
        os.fdatasync(self._descriptor)
        return self.offset_bytes

    def forget(self) -> None:
        """Cut off what was written since entering."""
        self.offset_bytes = self._start_bytes
        self.cut()

    @property
    def written_sha256(self) -> bytes:
        """Hash of what was written since entering."""
        return self._digest.digest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing to a file, sealed or not; blocking.

    Raises:
        PartialBusy: somebody else writes, or has just moved the file away.
        FileNotFoundError: there is none.
    """
    descriptor = _open_locked(path, os.O_RDONLY)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise PartialBusy("the file is sealed, about to become an object") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Before it was locked it may have become an object, which nobody may write to.
        if not os.path.samestat(os.fstat(descriptor), path.lstat()):
            raise FileNotFoundError(path)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise PartialBusy("somebody else is writing, or has just moved the file away") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
