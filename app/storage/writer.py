"""Writing one object: stream, hash, check, publish."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.storage.errors import DigestMismatch, ObjectTooLarge

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store holds under a digest."""

    sha256: str
    size_bytes: int


class ObjectWriter:
    """A blocking writer of one object of unknown digest; made by `ObjectStore.writer`."""

    def __init__(
        self,
        folder: Path,
        *,
        seal: Callable[[Path, str], None],
        max_bytes: int | None,
    ) -> None:
        self._path = folder / uuid.uuid4().hex
        self._sink = self._path.open("xb", buffering=0)
        self._seal = seal
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._is_done = False
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            ObjectTooLarge: the object would grow over its limit.
        """
        self.size_bytes += len(chunk)
        if self._max_bytes is not None and self.size_bytes > self._max_bytes:
            raise ObjectTooLarge(max_bytes=self._max_bytes)
        self._digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self._sink.write(view) :]

    def commit(self, *, expected_sha256: str | None = None) -> StoredObject:
        """Publish what was written under its digest.

        Raises:
            DigestMismatch: the digest is not `expected_sha256`; nothing is kept.
        """
        self._sink.close()
        sha256 = self._digest.hexdigest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise DigestMismatch(expected_sha256=expected_sha256, found_sha256=sha256)
        self._seal(self._path, sha256)
        self._is_done = True
        return StoredObject(sha256=sha256, size_bytes=self.size_bytes)

    def discard(self) -> None:
        """Throw away what was written, unless it was committed."""
        if self._is_done:
            return
        self._is_done = True
        self._sink.close()
        self._path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
