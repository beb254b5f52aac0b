"""Sealed files: read-only, with a fixed time of change, so that a later change shows."""

import os
import stat
import time
from pathlib import Path

SEALED_MODE = 0o444
SEALED_AT_SECONDS = 946_684_800  # 2000-01-01: any write moves a file's time away from it


def is_sealed(path: Path) -> bool:
    """Whether a file lies there as it was sealed: cheap, reads no content."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and stat.S_IMODE(status.st_mode) == SEALED_MODE
        and status.st_mtime_ns == SEALED_AT_SECONDS * 1_000_000_000
    )


def seal(path: Path) -> None:
    """Flush, make read-only and pin the time; flushed first, so a power cut leaves no husk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, SEALED_MODE)
        # The time of access is ours to set: when the bytes were last stored.
        os.utime(descriptor, (time.time(), SEALED_AT_SECONDS))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
