"""`submit`: a folder and a job become a run, which is followed."""

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from trainwright.azure_jobs import is_azures, source_folder, translated
from trainwright.commands import names
from trainwright.commands.describing import Run, outcome
from trainwright.commands.output import (
    AsJson,
    bytes_progress,
    print_json,
    print_line,
    print_record,
    say,
    size,
)
from trainwright.commands.session import connect
from trainwright.commands.watching import Detached, interrupted_before, watch_run
from trainwright.connection import Connection
from trainwright.folders import source_files
from trainwright.job_file import FILE_NAME, Job, JobInvalid, load_job, put_pairs, set_values
from trainwright.uploads import plan_snapshot, send_snapshot

FAILED = 1
INTERRUPTED = 130


def submit(
    folder: Annotated[
        Path,
        typer.Argument(help="Source folder; or the file of a job, beside its source.", exists=True),
    ] = Path(),
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help=f"Job, also a job.yml of Azure ML's; absent: {FILE_NAME} in the folder.",
            dir_okay=False,
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(help="Absent: the folder's name.", autocompletion=names.experiments),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Absent: the only one.", autocompletion=names.clusters),
    ] = None,
    entry_script: Annotated[str | None, typer.Option(help="Python file in the folder.")] = None,
    command: Annotated[str | None, typer.Option(help="Shell line, instead of a script.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="Argument of the script: --epochs=5."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="Environment variable: NAME=VALUE.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE.")] = None,
    nodes: Annotated[int | None, typer.Option(help="How many nodes.", min=1)] = None,
    name: Annotated[str | None, typer.Option(help="To be shown in lists.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="Any other field: KEY.KEY=YAML.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the id and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a folder, run it, and follow it to its end.

    Ctrl-C asks whether to leave the run, to cancel it, or to go on.
    """
    path = _job_file(folder, file)
    job = {} if path is None else load_job(path)
    if folder.is_file():
        folder = source_folder(job, folder)
    with connect() as server:
        if path is not None and is_azures(job):
            job = _azures(server, job, path, experiment or folder.resolve().name, cluster)
        for field, value in (
            ("experiment_name", experiment),
            ("cluster_name", cluster),
            ("entry_script", entry_script),
            ("command", command),
            ("node_count", nodes),
            ("display_name", name),
        ):
            if value is not None:
                job[field] = value
        if command is not None:
            job.pop("entry_script", None)
        elif entry_script is not None:
            job.pop("command", None)
        put_pairs(job, "script_params", param or [], option="--param", parse=True)
        put_pairs(job, "environment_variables", env or [], option="--env", parse=False)
        put_pairs(job, "tags", tag or [], option="--tag", parse=False)
        set_values(job, values or [])
        _complete(job, folder, server)
        job["snapshot_id"] = _send(server, folder)
        run, is_interrupted = _submit(server, job)
        _told(run, detach=detach, as_json=as_json)
        if not detach:
            _follow(server, run, is_interrupted=is_interrupted, as_json=as_json)


def _job_file(folder: Path, file: Path | None) -> Path | None:
    if folder.is_file():
        return folder
    path = file or folder / FILE_NAME
    return path if file is not None or path.exists() else None


def _azures(server: Connection, job: Job, path: Path, experiment: str, cluster: str | None) -> Job:
    """What a job of Azure ML's is here; what was left aside is told."""
    job, aside = translated(server, job, path, experiment=experiment, cluster=cluster)
    for line in aside:
        say(line, style="dim")
    return job


def _complete(job: Job, folder: Path, server: Connection) -> None:
    job.setdefault("experiment_name", folder.resolve().name)
    if not job.get("entry_script") and not job.get("command"):
        raise JobInvalid(
            "Nothing says what to run.",
            hint=f"Write entry_script or command into {FILE_NAME}, or give --entry-script.",
        )
    if "cluster_name" not in job:
        found = [str(item["name"]) for item in server.pages(server.path("clusters"))]
        if len(found) != 1:
            raise JobInvalid(
                "Nothing says on which cluster.",
                hint=f"Give --cluster, one of: {', '.join(found)}."
                if found
                else "Make one with `trainwright cluster create`.",
            )
        job["cluster_name"] = found[0]


def _send(server: Connection, folder: Path) -> str:
    with bytes_progress() as progress:
        reading = progress.add_task("Reading", total=None)
        files = source_files(folder, on_bytes=lambda count: progress.advance(reading, count))
        plan = plan_snapshot(server, files)
        progress.remove_task(reading)
        sending = progress.add_task("Sending", total=plan.missing_bytes)
        made = send_snapshot(server, plan, on_bytes=lambda count: progress.advance(sending, count))
    say(
        f"{made['file_count']} files, {size(made['size_bytes'])};"
        f" {size(plan.missing_bytes)} had to be sent."
    )
    return str(made["id"])


def _submit(server: Connection, job: Job) -> tuple[Run, bool]:
    """Make the run; Ctrl-C meanwhile is remembered, as the run may be there already."""
    key = str(uuid.uuid4())
    with _interrupts_held() as interrupts:
        answer = server.request(
            "POST", server.path("runs"), json=job, headers={"Idempotency-Key": key}
        )
    run: dict[str, Any] = answer.json()
    return run, bool(interrupts)


@contextmanager
def _interrupts_held() -> Iterator[list[int]]:
    """Hold the first Ctrl-C back; a second one is an interruption after all."""
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)


def _told(run: Run, *, detach: bool, as_json: bool) -> None:
    if as_json and detach:
        print_json(run)
    elif as_json:
        print_record({"kind": "run", **run})
    elif detach:
        print_line(run["id"])
    else:
        say(f"Submitted as {run['id']}.")


def _follow(server: Connection, run: Run, *, is_interrupted: bool, as_json: bool) -> None:
    try:
        if is_interrupted:
            interrupted_before(server, run["id"])
        run = watch_run(server, run["id"], as_json=as_json)
    except Detached as left:
        raise typer.Exit(0 if left.is_asked else INTERRUPTED) from None
    if as_json:
        print_record({"kind": "run", **run})
    is_good = run["status"] == "Completed"
    say(outcome(run), style="green" if is_good else "red")
    if not is_good:
        raise typer.Exit(FAILED)
    say(f"trainwright download {run['id']} fetches its outputs.", style="dim")
