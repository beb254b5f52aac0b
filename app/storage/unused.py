"""Taking away objects that nothing refers to, while others go on storing the same bytes.

An object is first set aside (renamed), then its references are looked for once more, and only
then is it dropped or put back. Whoever stores the same bytes meanwhile stores them anew, or has
marked them as just stored; either way nothing that somebody was told is stored gets lost.
All methods block: call them in a thread.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from app.storage.keys import is_sha256


class UnusedObjects:
    """The part of an object store's folder that garbage collection works on.

    Args:
        root: the object store's folder.
    """

    def __init__(self, root: Path) -> None:
        self._objects = root / "sha256"
        self._aside = root / "aside"

    def batches(self, *, size: int) -> Iterator[list[str]]:
        """Digests of all objects, so many at once."""
        batch: list[str] = []
        for folder in sorted(self._objects.glob("??")):
            for entry in os.scandir(folder):
                if is_sha256(entry.name):
                    batch.append(entry.name)
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def set_aside(self, digests: Iterable[str], *, unused_for_seconds: float) -> list[str]:
        """Move those of `digests` aside that were not stored again for so long; returns them."""
        self._aside.mkdir(exist_ok=True)
        limit = time.time() - unused_for_seconds
        taken = []
        for digest in digests:
            with suppress(FileNotFoundError):  # another collector was faster
                if self._path(digest).lstat().st_atime >= limit:
                    continue
                self._path(digest).rename(self._aside / digest)
                if (self._aside / digest).lstat().st_atime >= limit:
                    self.restore([digest])
                else:
                    taken.append(digest)
        return taken

    def leftovers(self) -> list[str]:
        """What an interrupted collection left aside."""
        if not self._aside.is_dir():
            return []
        return [name for name in os.listdir(self._aside) if is_sha256(name)]

    def restore(self, digests: Iterable[str]) -> None:
        """Put objects back that turned out to be in use."""
        for digest in digests:
            with suppress(FileNotFoundError, FileExistsError):
                # Never over one that was stored anew; that is the same and may be open.
                os.link(self._aside / digest, self._path(digest))
            with suppress(FileNotFoundError):
                (self._aside / digest).unlink()

    def drop(self, digests: Iterable[str]) -> int:
        """Remove objects for good; returns how many bytes that frees."""
        freed_bytes = 0
        for digest in digests:
            with suppress(FileNotFoundError):
                size_bytes = (self._aside / digest).lstat().st_size
                (self._aside / digest).unlink()
                freed_bytes += size_bytes
        return freed_bytes

    def shrink_to(self, max_bytes: int, *, spared_seconds: float) -> int:
        """Of a folder that is only a cache, remove what was read longest ago; returns bytes freed.

        Args:
            max_bytes: how large it may stay.
            spared_seconds: what was read or stored within so long stays in any case.
        """
        limit = time.time() - spared_seconds
        found = []
        for batch in self.batches(size=5000):
            for digest in batch:
                with suppress(FileNotFoundError):
                    status = self._path(digest).lstat()
                    found.append((status.st_atime, status.st_size, digest))
        excess_bytes = sum(size_bytes for _, size_bytes, _ in found) - max_bytes
        freed_bytes = 0
        for read_at, size_bytes, digest in sorted(found):
            if freed_bytes >= excess_bytes or read_at >= limit:
                break
            self._path(digest).unlink(missing_ok=True)
            freed_bytes += size_bytes
        return freed_bytes

    def _path(self, digest: str) -> Path:
        return self._objects / digest[:2] / digest
