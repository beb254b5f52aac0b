"""A file whose single reads are bounded.

The standard library's archive readers read whole headers and indexes at the size that the
archive claims for them; through this file a claim of gigabytes is an error instead of memory.
"""

import io
from typing import BinaryIO

from app.storage.errors import ArchiveRejected


class CappedFile(io.RawIOBase):
    """Read-only view of `source` that refuses to read more than `max_read_bytes` at once."""

    def __init__(self, source: BinaryIO, *, max_read_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._max_read_bytes = max_read_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._source.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET and offset < 0:
            # Where a damaged index points to; the file itself would call it an argument error.
            raise ArchiveRejected(
                "the archive's index points before its beginning", code="archive_malformed"
            )
        return self._source.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            data = self._source.read(self._max_read_bytes + 1)
            if len(data) <= self._max_read_bytes:
                return data
        elif size <= self._max_read_bytes:
            return self._source.read(size)
        raise ArchiveRejected(
            f"the archive has a header or index of more than {self._max_read_bytes} bytes",
            code="archive_header_too_large",
        )
