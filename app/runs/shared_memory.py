"""The size of ``/dev/shm`` of a run's nodes."""

from typing import Any

PATTERN = r"^[1-9][0-9]{0,11}[bkmgBKMG]?$"
_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_DEFAULT = "2g"
"""What the v1 service gives (contract, 2.4)."""


def shared_memory_bytes(request: dict[str, Any], *, memory_bytes: int) -> int:
    """What a node gets; without a wish, the service's default or all of its memory.

    Args:
        request: the run's, with ``shm_size`` in the form of `PATTERN`.
        memory_bytes: the node's memory, against which shared memory counts as well; 0: no limit.
    """
    wanted = request.get("shm_size")
    size_bytes = _parse(wanted or _DEFAULT)
    return min(size_bytes, memory_bytes) if memory_bytes and wanted is None else size_bytes


def _parse(text: str) -> int:
    number, unit = (text[:-1], text[-1].lower()) if not text[-1].isdigit() else (text, "b")
    return int(number) * _UNITS[unit]
