"""Room on a node's disk."""

from __future__ import annotations

import ctypes

# <linux/falloc.h>
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02


def free_bytes(path: str, *, start: int, end: int) -> bool:
    """Give bytes of a file back to the disk; it keeps its length, and they are read as zeros.

    Only whole blocks go. See fallocate(2), "Deallocating file space".

    Args:
        path: the file.
        start: the first byte.
        end: the byte after the last.

    Returns:
        Whether it was done: not every file system can, nor every C library.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    allocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if allocate is None:
        return False
    allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    allocate.restype = ctypes.c_int
    with open(path, "r+b", buffering=0) as file:
        done = allocate(file.fileno(), _PUNCH_HOLE | _KEEP_SIZE, start, end - start)
    return bool(done == 0)
