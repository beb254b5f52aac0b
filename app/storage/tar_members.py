"""Tar archives as members."""

import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from app.storage.capped import CappedFile
from app.storage.entries import MIB, Entry
from app.storage.errors import ArchiveRejected
from app.storage.paths import normalise_path

# Extended headers hold a path and attributes. Python < 3.11.10 reads them with an expression of
# quadratic time (CVE-2024-6232), which this bound keeps harmless.
_MAX_HEADER_BYTES = 16 * 1024


class TarMembers:
    """The members of an uncompressed tar file that can seek."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def entries(self) -> Iterator[Entry]:
        """List the members, reading headers only.

        Raises:
            ArchiveRejected: code `archive_malformed` when a header is damaged or the archive is
                cut off; the standard library ends the listing there without a word.
        """
        capped = cast(IO[bytes], CappedFile(self._source, max_read_bytes=_MAX_HEADER_BYTES))
        with tarfile.open(fileobj=capped, mode="r:") as archive:
            while (info := archive.next()) is not None:
                # Bounds the memory; typeshed does not know the attribute.
                archive.members.clear()  # type: ignore[attr-defined]
                yield _entry(info)
            self._source.seek(archive.offset)
            if self._source.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ArchiveRejected(
                    "the archive is cut off or damaged: it has no end mark",
                    code="archive_malformed",
                )

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Read one file's bytes."""
        position, left = entry.key, entry.size_bytes
        while left:
            self._source.seek(position)
            chunk = self._source.read(min(left, MIB))
            if not chunk:
                return
            position += len(chunk)
            left -= len(chunk)
            yield chunk


def _entry(info: tarfile.TarInfo) -> Entry:
    return Entry(
        path=normalise_path(info.name),
        size_bytes=info.size if info.isreg() else 0,
        key=info.offset_data,
        is_folder=info.isdir(),
        is_executable=bool(info.mode & 0o100),
        refusal=_refusal(info),
    )


def _refusal(info: tarfile.TarInfo) -> str | None:
    if info.issym():
        return "a symbolic link"
    if info.islnk():
        return "a hard link"
    if info.isdev():
        return "a device or pipe"
    if info.issparse():
        return "a sparse file"
    if not info.isreg() and not info.isdir():
        return "of an unknown type"
    return None
