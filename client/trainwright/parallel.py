"""Some work side by side, which an interruption does not have to wait for."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")
_SIDE_BY_SIDE = 4


def side_by_side(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do the work for each item, four at a time.

    The first failure, or Ctrl-C, is raised at once: what has not begun never does, and what has is
    left to itself.
    """
    pool = ThreadPoolExecutor(_SIDE_BY_SIDE)
    try:
        for done in as_completed([pool.submit(work, item) for item in items]):
            done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
