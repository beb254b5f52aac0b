"""Reading archives from strangers: tar, tar.gz and zip.

Nothing is ever extracted to a path of the archive's choosing: members are listed, checked all
together, and read one by one as streams. Only regular files and folders are allowed. Every
limit that an archive breaks is an `ArchiveRejected` or `PathRejected` with its own code.
"""

import contextlib
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from app.storage.entries import ArchiveLimits, Entry, Members
from app.storage.errors import ArchiveRejected
from app.storage.gunzip import gunzip
from app.storage.ignore import MAX_IGNORE_FILE_BYTES, ignore_filter, rules_path
from app.storage.paths import check_tree
from app.storage.tar_members import TarMembers
from app.storage.zip_members import ZipMembers

_MALFORMED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    ValueError,
)


class Archive:
    """An archive whose listing was checked and found within limits."""

    def __init__(self, members: Members, *, entries: list[Entry]) -> None:
        self._members = members
        self.entries = entries

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the bytes of one file, all of them checked against the listing's size.

        Raises:
            ArchiveRejected: code `archive_malformed`, the bytes are not what the listing says.
        """
        count = 0
        with _translated():
            for chunk in self._members.chunks(entry):
                count += len(chunk)
                if count > entry.size_bytes:
                    break
                yield chunk
        if count != entry.size_bytes:
            raise ArchiveRejected(
                f"{entry.path!r} does not have the {entry.size_bytes} bytes announced for it",
                code="archive_malformed",
            )


@contextlib.contextmanager
def open_archive(
    path: Path, *, limits: ArchiveLimits, use_ignore_files: bool = True
) -> Iterator[Archive]:
    """Open a tar, tar.gz or zip file and check all that it announces, before any byte is used.

    Blocking; for a thread. Memory stays bounded whatever the archive says; a compressed tar is
    unpacked once into an unnamed temporary file beside `path`.

    Args:
        path: the archive.
        limits: what it may hold.
        use_ignore_files: leave out what its `.amlignore` or `.gitignore` says.

    Raises:
        ArchiveRejected: codes `unsupported_archive`, `archive_malformed`, `archive_empty`,
            `archive_entry_type`, `archive_too_many_files`, `archive_too_large`,
            `archive_ratio`, `archive_header_too_large`, `ignore_file_invalid`.
        PathRejected: a path in it is unsafe or collides with another.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(path.open("rb"))
        with _translated():
            members = _members(source, path=path, limits=limits, stack=stack)
            entries = list(_bounded(members.entries(), limits))
            total_bytes = sum(entry.size_bytes for entry in entries)
            limits.check_unpacked(total_bytes, packed_bytes=path.stat().st_size)
        archive = Archive(members, entries=entries)
        if use_ignore_files:
            archive.entries = _without_ignored(archive)
        _check_kept(archive.entries, limits)
        yield archive


def _members(
    source: BinaryIO, *, path: Path, limits: ArchiveLimits, stack: contextlib.ExitStack
) -> Members:
    head = source.read(tarfile.BLOCKSIZE)
    source.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZipMembers(source)
    if head.startswith(b"\x1f\x8b"):
        plain = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))  # noqa: SIM115
        gunzip(source, plain, limits=limits)
        plain.seek(0)
        head = plain.read(tarfile.BLOCKSIZE)
        plain.seek(0)
        source = plain
    if not _looks_like_tar(head):
        raise ArchiveRejected("not a tar, tar.gz or zip archive", code="unsupported_archive")
    return TarMembers(source)


def _looks_like_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, encoding="utf-8", errors="surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # missing in typeshed
        return True
    except tarfile.HeaderError:
        return False
    return True


def _bounded(entries: Iterator[Entry], limits: ArchiveLimits) -> Iterator[Entry]:
    for count, entry in enumerate(entries, start=1):
        if count > limits.max_entries:
            raise ArchiveRejected(
                f"more than {limits.max_entries} entries, ignored ones included",
                code="archive_too_many_files",
                too_large=True,
            )
        if not entry.is_folder:
            yield entry


def _without_ignored(archive: Archive) -> list[Entry]:
    by_path = {entry.path: entry for entry in archive.entries if entry.refusal is None}
    name = rules_path(by_path)
    if name is None:
        rules, name = b"", ".gitignore"
    elif by_path[name].size_bytes > MAX_IGNORE_FILE_BYTES:
        raise ArchiveRejected(
            f"{name} is larger than {MAX_IGNORE_FILE_BYTES} bytes", code="ignore_file_invalid"
        )
    else:
        rules = b"".join(archive.chunks(by_path[name]))
    is_ignored = ignore_filter(rules, name=name)
    return [entry for entry in archive.entries if not is_ignored(entry.path)]


def _check_kept(entries: list[Entry], limits: ArchiveLimits) -> None:
    for entry in entries:
        if entry.refusal is not None:
            raise ArchiveRejected(
                f"{entry.path!r} is {entry.refusal}: only regular files and folders are allowed",
                code="archive_entry_type",
            )
        if not entry.path:
            raise ArchiveRejected("a file in it has no name", code="archive_malformed")
    check_tree(entry.path for entry in entries)
    if not entries:
        raise ArchiveRejected("no files in it, or all of them ignored", code="archive_empty")
    if len(entries) > limits.max_files:
        raise ArchiveRejected(
            f"{len(entries)} files, at most {limits.max_files} are allowed; leave some out with"
            " an .amlignore file",
            code="archive_too_many_files",
            too_large=True,
        )
    total_bytes = sum(entry.size_bytes for entry in entries)
    if total_bytes > limits.max_total_bytes:
        raise ArchiveRejected(
            f"{total_bytes} bytes of files, at most {limits.max_total_bytes} are allowed; leave"
            " some out with an .amlignore file",
            code="archive_too_large",
            too_large=True,
        )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what the standard library raises on malformed archives into our error."""
    try:
        yield
    except _MALFORMED as error:
        raise ArchiveRejected(
            f"the archive is malformed ({type(error).__name__})", code="archive_malformed"
        ) from error
