"""Unpacking gzip within limits."""

import zlib
from typing import BinaryIO

from app.storage.entries import ArchiveLimits
from app.storage.errors import ArchiveRejected

_CHUNK_BYTES = 256 * 1024
_GZIP_WINDOW = 31


def gunzip(source: BinaryIO, target: BinaryIO, *, limits: ArchiveLimits) -> None:
    """Unpack all gzip members of `source` into `target`.

    Raises:
        ArchiveRejected: codes `archive_too_large`, `archive_ratio`, `archive_malformed`.
        zlib.error: the compressed bytes are damaged.
    """
    packed_bytes = plain_bytes = 0
    stream = zlib.decompressobj(_GZIP_WINDOW)
    while chunk := source.read(_CHUNK_BYTES):
        packed_bytes += len(chunk)
        while chunk:
            if stream.eof:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                stream = zlib.decompressobj(_GZIP_WINDOW)
            plain = stream.decompress(chunk, _CHUNK_BYTES)
            chunk = stream.unused_data if stream.eof else stream.unconsumed_tail
            plain_bytes += len(plain)
            limits.check_unpacked(plain_bytes, packed_bytes=packed_bytes)
            target.write(plain)
    tail = b"" if stream.eof else stream.flush()
    limits.check_unpacked(plain_bytes + len(tail), packed_bytes=packed_bytes)
    target.write(tail)
    if not stream.eof:
        raise ArchiveRejected(
            "the archive is cut off: its gzip stream does not end", code="archive_malformed"
        )
