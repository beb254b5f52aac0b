"""First come, first served, and EASY backfill, as they are defined: to compare the planner with.

All count GPUs of one pool and know neither hosts nor fragmentation, which is in their favour.
EASY: Lifka 1995, "The ANL/IBM SP scheduling system"; Mu'alem and Feitelson 2001.
EASY-SJBF: Tsafrir, Etsion and Feitelson 2007, "Backfilling using system-generated predictions".
"""

import heapq
from collections.abc import Sequence
from enum import Enum, auto
from itertools import count

from app.simulation.trace import Job


class Backfill(Enum):
    """Who may overtake the head of the queue where that does not delay it."""

    NONE = auto()
    EASY = auto()
    """Whoever fits, in the order of arrival."""
    EASY_SJBF = auto()
    """Whoever fits, the shortest limit first."""


def replay(jobs: Sequence[Job], *, gpus: int, backfill: Backfill) -> dict[str, float]:
    """When each job starts.

    Args:
        jobs: by arrival; those wider than the pool are left out.
        gpus: of the pool.
        backfill: who may overtake the head.

    Returns:
        Start in seconds by job.
    """
    arrivals = [job for job in jobs if job.width <= gpus]
    starts: dict[str, float] = {}
    queue: list[Job] = []
    running: list[tuple[float, int, Job]] = []
    free, position, number = gpus, 0, count()
    while position < len(arrivals) or running:
        next_arrival = arrivals[position].arrives_seconds if position < len(arrivals) else None
        if running and (next_arrival is None or running[0][0] <= next_arrival):
            now, _, job = heapq.heappop(running)
            free += job.width
        else:
            assert next_arrival is not None
            now = next_arrival
            queue.append(arrivals[position])
            position += 1
        for job in _startable(queue, running, starts, now=now, free=free, backfill=backfill):
            starts[job.job_id] = now
            free -= job.width
            heapq.heappush(running, (now + job.duration_seconds, next(number), job))
        queue = [job for job in queue if job.job_id not in starts]
    return starts


def _startable(
    queue: Sequence[Job],
    running: Sequence[tuple[float, int, Job]],
    starts: dict[str, float],
    *,
    now: float,
    free: int,
    backfill: Backfill,
) -> list[Job]:
    chosen: list[Job] = []
    for position, job in enumerate(queue):
        if job.width > free:
            head, rest = job, queue[position + 1 :]
            break
        chosen.append(job)
        free -= job.width
    else:
        return chosen
    if backfill is Backfill.NONE:
        return chosen
    if backfill is Backfill.EASY_SJBF:
        rest = sorted(rest, key=lambda job: job.limit_seconds)
    ends = [(starts[job.job_id] + job.limit_seconds, job.width) for _, _, job in running]
    ends += [(now + job.limit_seconds, job.width) for job in chosen]
    shadow, extra = _shadow(head, sorted(ends), free)
    for job in rest:
        if job.width > free:
            continue
        if now + job.limit_seconds <= shadow:
            chosen.append(job)
            free -= job.width
        elif job.width <= extra:
            chosen.append(job)
            free -= job.width
            extra -= job.width
    return chosen


def _shadow(head: Job, ends: Sequence[tuple[float, int]], free: int) -> tuple[float, int]:
    for end, width in ends:
        free += width
        if free >= head.width:
            return end, free - head.width
    return 0.0, 0
