"""A tree of objects as one tar stream, every byte of it checked on the way."""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Protocol

from app.storage.errors import ObjectCorrupt, ObjectMissing
from app.storage.objects import ObjectStore
from app.storage.sealing import SEALED_AT_SECONDS
from app.storage.writer import CHUNK_BYTES

_BLOCK_BYTES = 512
_END = bytes(2 * _BLOCK_BYTES)


class TreeFile(Protocol):
    """A file of the tree: a relative path and its content."""

    @property
    def path(self) -> str:
        """Relative, with slashes."""

    @property
    def sha256(self) -> str:
        """Of the content."""

    @property
    def size_bytes(self) -> int:
        """Of the content."""


def tree_archive(objects: ObjectStore, files: Sequence[TreeFile]) -> Iterator[bytes]:
    """Yield the archive; blocks while it reads.

    Everything in it belongs to root and can be read by all and written by nobody.

    Raises:
        ObjectMissing: an object is not in the store, or not as it was sealed.
        ObjectCorrupt: its bytes are not those of its digest; what was yielded is worthless.
    """
    for folder in _folders(files):
        yield _header(folder, kind=tarfile.DIRTYPE, mode=0o555, size_bytes=0)
    for file in files:
        yield _header(file.path, kind=tarfile.REGTYPE, mode=0o444, size_bytes=file.size_bytes)
        yield from _content(objects, file)
    yield _END


def _folders(files: Sequence[TreeFile]) -> Iterator[str]:
    """Each folder once, after the one that it is in."""
    before: list[str] = []
    for parts in sorted(file.path.split("/")[:-1] for file in files):
        pairs = zip(before, parts, strict=False)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        for end in range(known, len(parts)):
            yield "/".join(parts[: end + 1])
        before = parts


def _content(objects: ObjectStore, file: TreeFile) -> Iterator[bytes]:
    path = objects.local_path(file.sha256)
    if path is None:
        text = f"{file.path}: object {file.sha256} is not in the store, or was changed"
        raise ObjectMissing(text)
    digest = hashlib.sha256()
    left_bytes = file.size_bytes
    with path.open("rb") as source:
        # Never more than the header has promised: the rest would be read as headers.
        while chunk := source.read(min(CHUNK_BYTES, left_bytes)):
            digest.update(chunk)
            left_bytes -= len(chunk)
            yield chunk
    if digest.hexdigest() != file.sha256:
        raise ObjectCorrupt(f"{file.path}: object {file.sha256} was changed after it was stored")
    yield bytes(-file.size_bytes % _BLOCK_BYTES)


def _header(path: str, *, kind: bytes, mode: int, size_bytes: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.mtime = kind, mode, size_bytes, SEALED_AT_SECONDS
    return entry.tobuf(tarfile.PAX_FORMAT)
