"""The public trace of Microsoft's Philly GPU cluster, as it is published.

``cluster_job_log`` is a JSON list of jobs: ``jobid``, ``vc`` (virtual cluster), ``user``,
``submitted_time`` and ``attempts``, each with ``start_time``, ``end_time`` and ``detail``, the
machines and GPUs it had. ``cluster_machine_list`` is a CSV table of machines and their number of
GPUs. (Jeon et al. 2019; github.com/msr-fiddle/philly-traces)
"""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from app.simulation.trace import Job, TraceInvalid, in_order

_TIME = "%Y-%m-%d %H:%M:%S"


def read_jobs(path: Path) -> list[Job]:
    """Jobs of a ``cluster_job_log``: what ran at all, with the GPUs of its first attempt.

    The trace knows no limits of time; planners are told the real durations.

    Raises:
        TraceInvalid: the file is something else, no job of it ever ran, or one is there twice.
    """
    try:
        listed = json.loads(path.read_bytes())
    except ValueError as error:
        raise TraceInvalid(f"{path} is not JSON: {error}") from error
    if not isinstance(listed, list):
        raise TraceInvalid(f"{path} is not a list of jobs")
    jobs: dict[str, Job] = {}
    for number, item in enumerate(listed):
        try:
            job = _job(item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TraceInvalid(f"{path}, job {number}: {error!r}") from error
        if job is None:
            continue
        if job.job_id in jobs:
            raise TraceInvalid(f"{path}, job {number}: there is a job {job.job_id!r} already")
        jobs[job.job_id] = job
    if not jobs:
        raise TraceInvalid(f"{path} has no job that ran")
    return in_order(list(jobs.values()))


def read_machines(path: Path) -> list[int]:
    """GPUs of each machine of a ``cluster_machine_list``.

    Raises:
        TraceInvalid: the file is something else, or names no GPUs.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        gpus = [int(row[1]) for row in rows[1:] if row]
    except (IndexError, ValueError, csv.Error) as error:
        raise TraceInvalid(f"{path} is no list of machines: {error}") from error
    if sum(gpus) < 1 or min(gpus) < 0:
        raise TraceInvalid(f"{path} names no machine with GPUs")
    return gpus


def _job(item: dict[str, Any]) -> Job | None:
    attempts = [a for a in item["attempts"] if a["detail"] and _seconds(a) > 0]
    if not attempts:
        return None
    gpus = [len(machine["gpus"]) for machine in attempts[0]["detail"]]
    duration = sum(_seconds(attempt) for attempt in attempts)
    return Job(
        job_id=item["jobid"],
        arrives_seconds=datetime.strptime(item["submitted_time"], _TIME).timestamp(),  # noqa: DTZ007
        duration_seconds=duration,
        limit_seconds=duration,
        node_count=len(gpus),
        # A gang has equal nodes; where the machines' parts differ, the largest counts.
        gpus_per_node=max(gpus),
        workspace=item["vc"],
        user=item["user"],
    )


def _seconds(attempt: dict[str, Any]) -> float:
    start, end = attempt["start_time"], attempt["end_time"]
    if start in (None, "None") or end in (None, "None"):
        return 0.0
    # The trace names no time zone; only differences are used.
    begin, over = datetime.strptime(start, _TIME), datetime.strptime(end, _TIME)  # noqa: DTZ007
    return (over - begin).total_seconds()
