"""Measuring several things in turns, so that what disturbs one disturbs all."""

import statistics
import time
from collections.abc import Callable

_ROUNDS = 7
_ROUND_SECONDS = 1.0


def in_turns(
    *calls: Callable[[int], object], rounds: int = _ROUNDS, round_seconds: float = _ROUND_SECONDS
) -> list[float]:
    """Median calls a second of each, in rounds of all of them; the first round does not count.

    Args:
        calls: each is given its own running number from 0.
        rounds: how many.
        round_seconds: how long each is called in each; once at least.
    """
    rates: list[list[float]] = [[] for _ in calls]
    numbers = [0] * len(calls)
    for _ in range(rounds):
        for place, call in enumerate(calls):
            began, before = time.perf_counter(), numbers[place]
            while time.perf_counter() - began < round_seconds:
                call(numbers[place])
                numbers[place] += 1
            seconds = time.perf_counter() - began
            rates[place].append((numbers[place] - before) / seconds)
    return [statistics.median(found[1:]) for found in rates]
