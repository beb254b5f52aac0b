"""Workloads: what arrives when, how large it is, and how long it takes."""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path

_DAY_SECONDS = 86_400.0
_REQUIRED = ("arrives_seconds", "duration_seconds")
_NODE_COUNTS = (1, 2, 4, 8)
_NODE_WEIGHTS = (0.70, 0.15, 0.10, 0.05)


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a trace.

    Attributes:
        job_id: its name.
        arrives_seconds: when it is submitted, from the start of the trace.
        duration_seconds: how long it really takes.
        limit_seconds: after how long it would be ended; what planners may rely on.
        node_count: nodes it needs at once.
        gpus_per_node: GPUs of each node; with 0, a core.
        workspace: whose quota and share it counts on.
        user: who submitted it.
        priority: higher goes first.
    """

    job_id: str
    arrives_seconds: float
    duration_seconds: float
    limit_seconds: float
    node_count: int = 1
    gpus_per_node: int = 1
    workspace: str = "default"
    user: str = "default"
    priority: int = 50

    @property
    def width(self) -> int:
        """GPUs it holds, or cores when it has none."""
        return self.node_count * max(1, self.gpus_per_node)


class TraceInvalid(Exception):
    """A file is not a trace; the message says where and why."""


def generate(
    *, jobs: int, gpus: int, load: float = 0.9, workspaces: int = 4, seed: int = 0
) -> list[Job]:
    """A made-up workload: many small and short jobs, few large and long ones, busy days.

    Arrivals are a Poisson process whose rate is three times as high by day as by night; durations
    are log-normal (median 10 minutes), as traces of GPU clusters show (Jeon et al. 2019,
    "Analysis of Large-Scale Multi-Tenant GPU Clusters"). Workspaces are of unequal size.

    Args:
        jobs: how many.
        gpus: of the pool that is to be loaded.
        load: work that arrives, as a part of what the pool can do.
        workspaces: how many share it.
        seed: the same seed gives the same workload.
    """
    chance = random.Random(seed)  # noqa: S311 - a workload, no secret
    names = [f"workspace-{number}" for number in range(1, workspaces + 1)]
    weights = [1.0 / number for number in range(1, workspaces + 1)]
    drafts = []
    for _ in range(jobs):
        nodes = min(chance.choices(_NODE_COUNTS, _NODE_WEIGHTS)[0], gpus)
        duration = min(max(10.0, chance.lognormvariate(6.4, 1.6)), 3 * _DAY_SECONDS)
        limit = duration * chance.choice((1.0, 1.5, 2.0, 5.0))
        workspace = chance.choices(names, weights)[0]
        drafts.append((nodes, duration, limit, workspace, chance.randint(1, 5)))
    work = sum(nodes * duration for nodes, duration, *_ in drafts)
    gap = work / (load * gpus) / max(1, jobs)
    now = 0.0
    made = []
    for number, (nodes, duration, limit, workspace, user) in enumerate(drafts):
        is_day = (now % _DAY_SECONDS) < _DAY_SECONDS / 2
        now += chance.expovariate((1.5 if is_day else 0.5) / gap)
        name = f"{workspace}-user-{user}"
        made.append(Job(f"job-{number}", now, duration, limit, nodes, 1, workspace, name))
    return made


def read_csv(path: Path) -> list[Job]:
    """A trace from a CSV file with a header line of `Job`'s field names.

    Only ``arrives_seconds`` and ``duration_seconds`` are required.

    Raises:
        TraceInvalid: there are no jobs, a column is missing, a field is no number, or a job is
            there twice.
    """
    jobs: dict[str, Job] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            for number, row in enumerate(reader, start=1):
                job = _job_of_line(f"{path}, line {reader.line_num} (job {number})", number, row)
                if job.job_id in jobs:
                    where = f"{path}, line {reader.line_num} (job {number})"
                    raise TraceInvalid(f"{where}: there is a job {job.job_id!r} already")
                jobs[job.job_id] = job
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceInvalid(f"{path} is no CSV file in UTF-8: {error}") from error
    if not jobs:
        raise TraceInvalid(f"{path} has no jobs")
    return in_order(list(jobs.values()))


def write_csv(path: Path, jobs: Iterable[Job]) -> None:
    """Write a trace so that `read_csv` reads it."""
    names = [field.name for field in fields(Job)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(job, name) for name in names] for job in jobs)


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """Jobs by arrival, the first at second 0."""
    first = min((job.arrives_seconds for job in jobs), default=0.0)
    moved = [
        Job(
            **{f.name: getattr(job, f.name) for f in fields(Job) if f.name != "arrives_seconds"},
            arrives_seconds=job.arrives_seconds - first,
        )
        for job in jobs
    ]
    return sorted(moved, key=lambda job: (job.arrives_seconds, job.job_id))


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise TraceInvalid(
            f"{path} is no trace: its first line does not name the columns {', '.join(missing)} "
            "(a trace is a CSV file, or Philly's cluster_job_log)"
        )


def _job_of_line(where: str, number: int, row: dict[str, str]) -> Job:
    try:
        return _job(number, row)
    except (KeyError, TypeError, ValueError) as error:
        raise TraceInvalid(f"{where}: {error}") from error


def _job(number: int, row: dict[str, str]) -> Job:
    for name in _REQUIRED:
        if not row[name]:
            raise ValueError(f"{name} is missing")
    duration = float(row["duration_seconds"])
    job = Job(
        job_id=row.get("job_id") or f"job-{number}",
        arrives_seconds=float(row["arrives_seconds"]),
        duration_seconds=duration,
        limit_seconds=float(row.get("limit_seconds") or duration),
        node_count=int(row.get("node_count") or 1),
        gpus_per_node=int(row.get("gpus_per_node") or 1),
        workspace=row.get("workspace") or "default",
        user=row.get("user") or "default",
        priority=int(row.get("priority") or 50),
    )
    times = (job.arrives_seconds, job.duration_seconds, job.limit_seconds)
    if not all(isfinite(seconds) for seconds in times):
        raise ValueError("a time is no number of seconds")
    if min(job.duration_seconds, job.limit_seconds) < 0 or job.node_count < 1:
        raise ValueError("a duration, a limit or a number of nodes is too small")
    if job.gpus_per_node < 0:
        raise ValueError("a number of GPUs is too small")
    return job
