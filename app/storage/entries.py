"""What the archive readers have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from app.storage.errors import ArchiveRejected

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive.

    `refusal` says why it cannot be source ("a symbolic link"); None for a regular file or folder.
    `key` is the reader's own way to find it again.
    """

    path: str
    size_bytes: int
    key: int
    is_folder: bool = False
    is_executable: bool = False
    refusal: str | None = None


class Members(Protocol):
    """The members of one kind of archive."""

    def entries(self) -> Iterator[Entry]:
        """List the members, their paths in plain form."""

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Read one regular file."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold.

    `max_files` and `max_total_bytes` are those of Azure Machine Learning snapshots (300 MB, 2,000
    files) and count what the ignore files leave; the rest bounds everything in the archive.
    """

    max_files: int = 2_000
    max_total_bytes: int = 300 * MIB
    max_entries: int = 20_000
    max_unpacked_bytes: int = 600 * MIB
    max_ratio: int = 200
    ratio_free_bytes: int = 16 * MIB

    def check_unpacked(self, plain_bytes: int, *, packed_bytes: int) -> None:
        """Refuse an archive that grows too much.

        Raises:
            ArchiveRejected: codes `archive_ratio` and `archive_too_large`.
        """
        if plain_bytes > max(self.ratio_free_bytes, packed_bytes * self.max_ratio):
            raise ArchiveRejected(
                f"the archive unpacks to more than {self.max_ratio} times its size",
                code="archive_ratio",
                too_large=True,
            )
        if plain_bytes > self.max_unpacked_bytes:
            raise ArchiveRejected(
                f"the archive unpacks to more than {self.max_unpacked_bytes} bytes, ignored files"
                " included",
                code="archive_too_large",
                too_large=True,
            )
