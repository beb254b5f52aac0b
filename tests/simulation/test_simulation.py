"""Replays: the planner beside FIFO and EASY, and the public trace's format."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.simulation import philly, reference
from app.simulation.reference import Backfill
from app.simulation.replay import Pool, replay
from app.simulation.report import jain, report
from app.simulation.trace import Job, TraceInvalid, generate, read_csv, write_csv


def job(name: str, at: float, seconds: float, width: int, limit: float | None = None) -> Job:
    return Job(name, at, seconds, seconds if limit is None else limit, width)


def test_the_references_do_what_their_definitions_say() -> None:
    jobs = [job("a", 0, 100, 3), job("b", 1, 50, 4), job("c", 2, 60, 1), job("d", 3, 500, 1)]

    fifo = reference.replay(jobs, gpus=4, backfill=Backfill.NONE)
    easy = reference.replay(jobs, gpus=4, backfill=Backfill.EASY)

    assert fifo == {"a": 0, "b": 100, "c": 150, "d": 150}
    # c has ended before b can start; d would not have.
    assert easy == {"a": 0, "b": 100, "c": 2, "d": 150}


def test_the_planner_backfills_as_easy_does_on_one_host() -> None:
    jobs = [job("a", 0, 100, 3), job("b", 1, 50, 4), job("c", 2, 60, 1), job("d", 3, 500, 1)]

    assert replay(jobs, Pool((4,))) == reference.replay(jobs, gpus=4, backfill=Backfill.EASY)


@pytest.mark.parametrize("seed", range(6))
def test_of_one_user_on_one_host_every_job_starts_when_easy_sjbf_would_start_it(seed: int) -> None:
    jobs = [
        replace(item, workspace="one", user="one")
        for item in generate(jobs=200, gpus=16, load=1.2, seed=seed)
    ]

    expected = reference.replay(jobs, gpus=16, backfill=Backfill.EASY_SJBF)
    assert replay(jobs, Pool((16,))) == expected


@pytest.mark.parametrize("seed", range(6))
def test_jobs_wait_no_longer_than_with_easy_and_slow_down_no_more(seed: int) -> None:
    jobs = generate(jobs=600, gpus=64, load=1.0, seed=seed)

    ours = report("ours", jobs, replay(jobs, Pool((8,) * 8)), gpus=64)
    starts = reference.replay(jobs, gpus=64, backfill=Backfill.EASY)
    easy = report("easy", jobs, starts, gpus=64)

    assert ours.jobs == easy.jobs == 600
    assert ours.mean_wait_seconds <= easy.mean_wait_seconds
    assert ours.mean_bounded_slowdown <= easy.mean_bounded_slowdown


def test_a_workload_is_made_again_from_its_seed_and_read_back(tmp_path: Path) -> None:
    jobs = generate(jobs=50, gpus=8, seed=7)
    assert jobs == generate(jobs=50, gpus=8, seed=7)
    assert jobs != generate(jobs=50, gpus=8, seed=8)

    write_csv(tmp_path / "jobs.csv", jobs)
    again = read_csv(tmp_path / "jobs.csv")

    first = jobs[0].arrives_seconds
    assert [j.job_id for j in again] == [j.job_id for j in jobs]
    assert again[3].arrives_seconds == pytest.approx(jobs[3].arrives_seconds - first)
    assert again[3].workspace == jobs[3].workspace


def test_a_file_that_is_no_trace_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("arrives_seconds,duration_seconds\n0,10\n1,soon\n")
    with pytest.raises(TraceInvalid, match="job 2"):
        read_csv(tmp_path / "jobs.csv")
    (tmp_path / "jobs.json").write_text('{"jobs": []}')
    with pytest.raises(TraceInvalid, match="not a list"):
        philly.read_jobs(tmp_path / "jobs.json")


def test_the_public_trace_is_read(tmp_path: Path) -> None:
    detail = [{"ip": "m1", "gpus": ["gpu0", "gpu1"]}, {"ip": "m2", "gpus": ["gpu0", "gpu1"]}]
    never = {
        "jobid": "application_2", "vc": "v", "user": "u", "status": "Killed",
        "submitted_time": "2017-10-09 07:03:00", "attempts": [],
    }  # fmt: skip
    ran = {
        "jobid": "application_1", "vc": "ee9e8c", "user": "ce2d4b", "status": "Pass",
        "submitted_time": "2017-10-09 07:02:56",
        "attempts": [
            {"start_time": "2017-10-09 07:03:51", "end_time": "2017-10-09 07:04:51",
             "detail": detail},
            {"start_time": "None", "end_time": "None", "detail": detail},
        ],
    }  # fmt: skip
    (tmp_path / "cluster_job_log").write_text(json.dumps([ran, never]))
    (tmp_path / "machines").write_text("machineId, number of GPUs, single GPU mem\nm1,8,24GB\n")

    assert philly.read_jobs(tmp_path / "cluster_job_log") == [
        Job("application_1", 0.0, 60.0, 60.0, 2, 2, "ee9e8c", "ce2d4b")
    ]
    assert philly.read_machines(tmp_path / "machines") == [8]


def test_fairness_is_one_when_all_fare_alike() -> None:
    assert jain([2.0, 2.0, 2.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_the_command_compares_and_draws(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "simulate", "--jobs", "60", "--json"]
    done = subprocess.run(
        [*command, "--picture", str(tmp_path / "it.png")],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["policy"] for line in done.stdout.splitlines()] == [
        "FIFO",
        "EASY",
        "Trainwright",
    ]
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")

    missing = subprocess.run([*command, "no-such.csv"], capture_output=True, text=True, timeout=90)
    assert missing.returncode == 2
    assert "no-such.csv" in missing.stderr
