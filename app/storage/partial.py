"""A file that grows piece by piece until it becomes an object."""

import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from app.storage.errors import StorageError


class PartialBusy(StorageError):
    """Another process, or another request, is writing to the file."""

    code = "partial_busy"


class PartialFile:
    """Blocking, exclusive writing from an offset; for use in a thread as a context manager.

    The lock is the kernel's: it ends with the process that holds it, however that dies.

    Args:
        path: of the file, made when absent.
        offset_bytes: where writing begins; what lies behind it is cut off.

    Raises:
        PartialBusy: on entering, when somebody else writes.
    """

    def __init__(self, path: Path, *, offset_bytes: int) -> None:
        self._path = path
        self._descriptor = -1
        self._digest = hashlib.sha256()
        self._start_bytes = offset_bytes
        self.offset_bytes = offset_bytes

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_size < self.offset_bytes:
                # The file is younger than its row: a disk was lost. Begin again.
                self._start_bytes = self.offset_bytes = 0
            os.ftruncate(descriptor, self.offset_bytes)
        except BlockingIOError:
            os.close(descriptor)
            raise PartialBusy("somebody else is writing") from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

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
        os.ftruncate(self._descriptor, self.offset_bytes)

    @property
    def written_sha256(self) -> bytes:
        """Hash of what was written since entering."""
        return self._digest.digest()
