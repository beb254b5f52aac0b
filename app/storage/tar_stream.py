"""Stored objects as one tar.gz stream, made while it is sent."""

import tarfile
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import anyio.to_thread

from app.storage.objects import ObjectStore

_GZIP_WINDOW_BITS = 31
_FAST = 1


@dataclass(frozen=True)
class TarEntry:
    """A file of the archive.

    Attributes:
        path: in the archive.
        sha256: the object that holds its bytes.
        size_bytes: exactly so many.
        read: gives the bytes of a file that is no object yet.
    """

    path: str
    sha256: str
    size_bytes: int
    read: Callable[[], AsyncIterator[bytes]] | None = None


async def tar_stream(objects: ObjectStore, entries: Sequence[TarEntry]) -> AsyncIterator[bytes]:
    """Yield a gzip-compressed tar with these files; memory stays bounded.

    The same entries give the same bytes: no times, no owners.
    """
    compressor = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    for entry in entries:
        yield compressor.compress(_header(entry))
        chunks = entry.read() if entry.read else await objects.open(entry.sha256)
        async for chunk in chunks:
            yield await anyio.to_thread.run_sync(compressor.compress, chunk)
        yield compressor.compress(bytes(-entry.size_bytes % tarfile.BLOCKSIZE))
    yield compressor.compress(bytes(2 * tarfile.BLOCKSIZE))
    yield compressor.flush()


def _header(entry: TarEntry) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.size = entry.size_bytes
    return info.tobuf(tarfile.PAX_FORMAT)
