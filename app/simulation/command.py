"""``trainwright simulate``: a workload through the real planner, in virtual time."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.pictures.spec import Line, Panel, Picture
from app.scheduling.types import Policy
from app.simulation import philly, reference
from app.simulation.replay import Pool, replay
from app.simulation.report import Report, busy, fairness_over_time, report
from app.simulation.trace import Job, TraceInvalid, generate, read_csv, write_csv

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_console = Console()
_errors = Console(stderr=True)
_LOOKED_AT_BYTES = 1024


@cli.command()
def simulate(
    *,
    trace: Annotated[
        Path | None, typer.Argument(help="CSV file, or Philly's cluster_job_log.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Without a trace: jobs to make up.", min=1)] = 1000,
    load: Annotated[float, typer.Option(help="Work made up, per capacity.", min=0.01)] = 0.9,
    seed: Annotated[int, typer.Option(help="The same seed makes the same jobs.")] = 0,
    hosts: Annotated[int, typer.Option(help="Hosts of the pool.", min=1)] = 8,
    gpus: Annotated[int, typer.Option(help="GPUs of each host.", min=1)] = 8,
    machines: Annotated[
        Path | None, typer.Option(help="Philly's cluster_machine_list instead of --hosts.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first jobs.", min=1)] = None,
    cycle: Annotated[
        float, typer.Option(help="Plan at most once in so many virtual seconds.", min=0.0)
    ] = 0.0,
    ageing: Annotated[
        float, typer.Option(help="Seconds of waiting that count as a priority.", min=1.0)
    ] = 600.0,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG or SVG here.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the workload as CSV here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON lines.")] = False,
) -> None:
    """Compare FIFO, EASY backfill and Trainwright's own planner on a workload."""
    try:
        host_gpus = tuple(philly.read_machines(machines)) if machines else (gpus,) * hosts
        pool = Pool(host_gpus, policy=Policy(ageing), cycle_seconds=cycle)
        found = _workload(trace, jobs=jobs, gpus=pool.gpus, load=load, seed=seed)[:limit]
        held = [job for job in found if pool.holds(job)]
        if not held:
            raise TraceInvalid(f"none of the {len(found)} jobs has room on these hosts")
        if save is not None:
            write_csv(save, found)
    except (OSError, TraceInvalid) as error:
        _errors.print(f"error: {error}", markup=False)
        raise typer.Exit(2) from None
    results = _replay_all(held, pool)
    reports = [report(name, found, starts, gpus=pool.gpus) for name, starts in results.items()]
    if as_json:
        for item in reports:
            typer.echo(json.dumps(item.as_json()))
    else:
        _console.print(_table(reports))
    if picture is not None:
        try:
            _draw(picture, held, results, pool)
        except OSError as error:
            _errors.print(f"error: {error}", markup=False)
            raise typer.Exit(2) from None


def _workload(path: Path | None, *, jobs: int, gpus: int, load: float, seed: int) -> list[Job]:
    if path is None:
        return generate(jobs=jobs, gpus=gpus, load=load, seed=seed)
    # By what it is, whatever it is called: the public trace is published without a suffix.
    with path.open("rb") as file:
        is_json = file.read(_LOOKED_AT_BYTES).lstrip()[:1] in (b"[", b"{")
    return philly.read_jobs(path) if is_json else read_csv(path)


def _replay_all(jobs: Sequence[Job], pool: Pool) -> dict[str, dict[str, float]]:
    results = {
        "FIFO": reference.replay(jobs, gpus=pool.gpus, backfill=reference.Backfill.NONE),
        "EASY": reference.replay(jobs, gpus=pool.gpus, backfill=reference.Backfill.EASY),
    }
    with Progress(console=_errors, transient=True, disable=not _errors.is_terminal) as progress:
        task = progress.add_task("planning", total=len(jobs))
        results["Trainwright"] = replay(
            jobs, pool, on_progress=lambda done: progress.update(task, completed=done)
        )
    return results


def _table(reports: Sequence[Report]) -> Table:
    left_out = reports[0].left_out
    caption = f"{left_out} jobs were left out: no hosts here have room for them."
    table = Table(caption=caption if left_out else None)
    table.add_column("policy", no_wrap=True)
    for name in ("jobs", "mean wait", "median", "95 %", "longest", "slow", "use", "fair"):
        table.add_column(name, justify="right")
    for item in reports:
        table.add_row(
            item.policy,
            str(item.jobs),
            *(
                _time(seconds)
                for seconds in (
                    item.mean_wait_seconds,
                    item.median_wait_seconds,
                    item.p95_wait_seconds,
                    item.longest_wait_seconds,
                )
            ),
            f"{item.mean_bounded_slowdown:.2f}",
            f"{item.utilisation:.1%}",
            f"{item.fairness:.3f}",
        )
    return table


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _draw(
    path: Path, jobs: Sequence[Job], results: Mapping[str, Mapping[str, float]], pool: Pool
) -> None:
    durations = {job.job_id: job.duration_seconds for job in jobs}
    end = max(
        start + durations[name] for starts in results.values() for name, start in starts.items()
    )
    working, waiting, waits, fairness = [], [], [], []
    for number, (name, starts) in enumerate(results.items()):
        lines = busy(jobs, starts, end_seconds=end)
        moments = [(step + 0.5) * end / len(lines[0]) for step in range(len(lines[0]))]
        working.append(_line(name, number, moments, lines[0]))
        waiting.append(_line(name, number, moments, lines[1]))
        fair = fairness_over_time(jobs, starts, end_seconds=end)
        fairness.append(_line(name, number, moments, fair))
        by_job = sorted(
            starts[job.job_id] - job.arrives_seconds for job in jobs if job.job_id in starts
        )
        parts = [100 * (position + 1) / len(by_job) for position in range(len(by_job))]
        waits.append(_line(name, number, [max(1.0, wait) for wait in by_job], parts))
    drawn: Picture = {
        "title": f"{len(durations)} jobs on {pool.gpus} GPUs of {len(pool.host_gpus)} hosts",
        "footer": "",
        "format": "svg" if path.suffix == ".svg" else "png",
        "width_px": 1000,
        "height_px": None,
        "panels": [
            _panel("GPUs at work", "GPUs", working),
            _panel("GPUs waited for", "GPUs", waiting),
            _panel("Jobs that waited no longer", "% of jobs", waits)
            | {"x_label": "wait in seconds", "log_x": True},
            _panel("Fairness between workspaces so far", "Jain's index", fairness),
        ],
        "timeline": None,
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.pictures.drawing"],
        input=json.dumps(drawn).encode(),
        stdout=subprocess.PIPE,
        check=True,
        env=dict(os.environ),
    )
    path.write_bytes(done.stdout)


def _line(label: str, colour: int, x: list[float], y: Sequence[float]) -> Line:
    return {"label": label, "colour": colour, "dash": 0, "x": x, "y": list(y)}


def _panel(title: str, y_label: str, lines: list[Line]) -> Panel:
    return {
        "title": title,
        "x_label": "",
        "y_label": y_label,
        "from_zero": True,
        "log_x": False,
        "log_y": False,
        "lines": lines,
    }


if __name__ == "__main__":
    cli(prog_name="trainwright simulate")
