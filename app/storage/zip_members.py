"""Zip archives as members."""

import stat
import zipfile
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from app.storage.capped import CappedFile
from app.storage.entries import MIB, Entry
from app.storage.paths import normalise_path

_MAX_INDEX_BYTES = 4 * MIB
_ENCRYPTED = 0x1
_UNIX = 3


class ZipMembers:
    """The members of a zip file that can seek."""

    def __init__(self, source: BinaryIO) -> None:
        capped = cast(IO[bytes], CappedFile(source, max_read_bytes=_MAX_INDEX_BYTES))
        self._archive = zipfile.ZipFile(capped)
        self._infos = self._archive.infolist()

    def entries(self) -> Iterator[Entry]:
        """List the members of the central directory."""
        for key, info in enumerate(self._infos):
            mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
            yield Entry(
                # The plain `filename` is cut off at a NUL byte, this one is not.
                path=normalise_path(info.orig_filename),
                size_bytes=info.file_size,
                key=key,
                is_folder=info.is_dir(),
                is_executable=bool(mode & 0o100),
                refusal=_refusal(info, mode),
            )

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Read one file's bytes; its checksum is compared at the end."""
        with self._archive.open(self._infos[entry.key]) as member:
            while chunk := member.read(MIB):
                yield chunk


def _refusal(info: zipfile.ZipInfo, mode: int) -> str | None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a device, pipe or socket"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed in a way that is not supported"
    return None
