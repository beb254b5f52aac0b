"""What came of a replay, in figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from app.simulation.trace import Job

_SHORTEST_SECONDS = 10.0
_STEPS = 200


@dataclass(frozen=True)
class Report:
    """How one policy did.

    Attributes:
        policy: its name.
        jobs: how many started.
        left_out: how many did not, because the pool can never hold them.
        mean_wait_seconds, median_wait_seconds, p95_wait_seconds, longest_wait_seconds: from
            arrival to start.
        mean_bounded_slowdown: (wait + duration) over duration, with durations under 10 s counted
            as 10 s (Feitelson et al. 1997).
        utilisation: GPU-seconds of work over those that there were until the last job ended.
        fairness: Jain's index over the mean slowdowns of workspaces: 1 when all fare alike.
    """

    policy: str
    jobs: int
    left_out: int
    mean_wait_seconds: float
    median_wait_seconds: float
    p95_wait_seconds: float
    longest_wait_seconds: float
    mean_bounded_slowdown: float
    utilisation: float
    fairness: float

    def as_json(self) -> dict[str, object]:
        """The figures, rounded to a thousandth."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def report(policy: str, jobs: Sequence[Job], starts: Mapping[str, float], *, gpus: int) -> Report:
    """The figures of one policy.

    Args:
        policy: its name.
        jobs: the workload.
        starts: when each job started, in seconds; others are left out.
        gpus: of the pool.
    """
    started = [job for job in jobs if job.job_id in starts]
    waits = sorted(starts[job.job_id] - job.arrives_seconds for job in started) or [0.0]
    by_workspace: dict[str, list[float]] = {}
    for job in started:
        by_workspace.setdefault(job.workspace, []).append(_slowdown(job, starts))
    slowdowns = [value for values in by_workspace.values() for value in values] or [1.0]
    ends = [starts[job.job_id] + job.duration_seconds for job in started] or [1.0]
    work = sum(job.width * job.duration_seconds for job in started)
    return Report(
        policy=policy,
        jobs=len(started),
        left_out=len(jobs) - len(started),
        mean_wait_seconds=fmean(waits),
        median_wait_seconds=waits[len(waits) // 2],
        p95_wait_seconds=waits[int(len(waits) * 0.95)],
        longest_wait_seconds=waits[-1],
        mean_bounded_slowdown=fmean(slowdowns),
        utilisation=work / (gpus * max(ends)) if max(ends) else 0.0,
        fairness=jain([fmean(values) for values in by_workspace.values()]),
    )


def jain(values: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all are equal, 1/n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def fairness_over_time(
    jobs: Sequence[Job], starts: Mapping[str, float], *, end_seconds: float
) -> list[float]:
    """Jain's index over time: at the end of each of equal steps, of all that had started by then.

    Args:
        jobs: the workload.
        starts: when each job started.
        end_seconds: of the time that is shown.

    Returns:
        As many values as `busy` has; 1 before anything started, the last one as in the report.
    """
    started = sorted((job for job in jobs if job.job_id in starts), key=lambda j: starts[j.job_id])
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    index, position = [], 0
    for step in range(1, _STEPS + 1):
        until = end_seconds * step / _STEPS
        while position < len(started) and (
            step == _STEPS or starts[started[position].job_id] <= until
        ):
            job = started[position]
            sums[job.workspace] = sums.get(job.workspace, 0.0) + _slowdown(job, starts)
            counts[job.workspace] = counts.get(job.workspace, 0) + 1
            position += 1
        index.append(jain([sums[name] / counts[name] for name in sums]))
    return index


def busy(
    jobs: Sequence[Job], starts: Mapping[str, float], *, end_seconds: float
) -> tuple[list[float], list[float]]:
    """Busy and waiting GPUs over time, as means over equal steps: what the picture shows.

    Args:
        jobs: the workload.
        starts: when each job started.
        end_seconds: of the time that is shown.

    Returns:
        Two lists of the same length: GPUs that worked, GPUs that were waited for.
    """
    step = max(end_seconds, 1.0) / _STEPS
    working, waiting = [0.0] * _STEPS, [0.0] * _STEPS
    for job in jobs:
        start = starts.get(job.job_id)
        if start is not None:
            _spread(working, job.width, start, start + job.duration_seconds, step)
            _spread(waiting, job.width, job.arrives_seconds, start, step)
    return working, waiting


def _slowdown(job: Job, starts: Mapping[str, float]) -> float:
    wait = starts[job.job_id] - job.arrives_seconds
    return max(1.0, (wait + job.duration_seconds) / max(_SHORTEST_SECONDS, job.duration_seconds))


def _spread(values: list[float], width: int, start: float, end: float, step: float) -> None:
    for number in range(int(start / step), min(len(values), int(end / step) + 1)):
        overlap = min(end, (number + 1) * step) - max(start, number * step)
        values[number] += width * max(0.0, overlap) / step
