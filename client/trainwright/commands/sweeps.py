"""`sweep submit | list | show | trials | cancel | replay | register`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.output import (
    AsJson,
    age,
    number,
    print_facts,
    print_json,
    print_table,
    say,
)
from trainwright.commands.session import connect
from trainwright.job_file import JobInvalid, load_job, set_values
from trainwright.uploads import upload_snapshot

app = typer.Typer(no_args_is_help=True, help="Search for good hyperparameters.")

Sweep = Annotated[str, typer.Argument(help="Its id.", autocompletion=names.sweeps)]


@app.command()
def submit(
    file: Annotated[
        Path, typer.Argument(help="YAML with the fields of POST …/sweeps.", dir_okay=False)
    ],
    *,
    source: Annotated[
        Path | None,
        typer.Option(help="Folder with the source; absent: that of the file.", file_okay=False),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="KEY.KEY=YAML over the file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a sweep; the folder is sent as the source of its runs."""
    body = load_job(file)
    set_values(body, assignments or [])
    trial = body.get("trial")
    if not isinstance(trial, dict):
        raise JobInvalid(f"{file} has no trial: the run of each trial, as in trainwright.yaml.")
    with connect() as server:
        if "snapshot_id" not in trial:
            trial["snapshot_id"] = upload_snapshot(server, source or file.parent)["id"]
        made = server.post(server.path("sweeps"), body)
    if as_json:
        print_json(made)
    else:
        say(f"Sweep {made['id']} is {made['status']}.")


@app.command("list")
def list_sweeps(*, as_json: AsJson = False) -> None:
    """List sweeps, the newest first."""
    with connect() as server:
        items = list(server.pages(server.path("sweeps")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["SWEEP", "NAME", "STATUS", "TRIALS", "BEST", "AGE"],
        (
            [
                item["id"],
                item["display_name"],
                item["status"],
                f"{item['trials_count']}/{item['limits']['max_trials']}",
                number(item["best_value"]),
                age(item["created_at"]),
            ]
            for item in items
        ),
    )


@app.command()
def show(sweep: Sweep, *, as_json: AsJson = False) -> None:
    """Show how far a sweep is, and its best trial."""
    with connect() as server:
        _print(server.get(server.path("sweeps", sweep)), as_json=as_json)


@app.command()
def trials(
    sweep: Sweep,
    *,
    top: Annotated[int | None, typer.Option(help="Only so many.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """List trials that have a value, the best first."""
    with connect() as server:
        goal = server.get(server.path("sweeps", sweep))["objective"]["goal"]
        params = {"order_by": "-value" if goal == "maximize" else "value"}
        items = list(server.pages(server.path("sweeps", sweep, "trials"), params=params))[:top]
    if as_json:
        print_json(items)
        return
    print_table(
        ["TRIAL", "VALUE", "STATUS", "RUN", "PARAMETERS"],
        (
            [
                item["number"],
                number(item["value"]),
                "ended early" if item["termination"] else item["status"],
                item["run_id"],
                " ".join(f"{name}={number(one)}" for name, one in item["parameters"].items()),
            ]
            for item in items
        ),
    )


@app.command()
def cancel(sweep: Sweep, *, as_json: AsJson = False) -> None:
    """Ask for the end of a sweep and of its runs."""
    with connect() as server:
        _print(server.post(server.path("sweeps", sweep, "cancel")), as_json=as_json)


@app.command()
def replay(
    sweep: Sweep,
    policy: Annotated[list[str], typer.Argument(help="KEY=YAML, as in type=median_stopping.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what another policy would have ended, and whether the winner among it."""
    body: dict[str, Any] = {}
    set_values(body, policy)
    with connect() as server:
        path = server.path("sweeps", sweep, "replay")
        found = server.post(path, {"early_termination": body})
    if as_json:
        print_json(found)
        return
    print_facts(
        [
            ("would have ended", f"{found['ended_count']} of {found['trials_count']} runs"),
            ("intervals saved", f"{found['saved_intervals']} of {found['intervals_count']}"),
            ("seconds saved", number(found["saved_seconds"])),
            ("the winner, trial", found["winner"]),
            ("would have ended too", "yes" if found["is_winner_ended"] else "no"),
        ]
    )


@app.command()
def register(
    sweep: Sweep,
    name: Annotated[str, typer.Argument(help="Of the model.", autocompletion=names.models)],
    *,
    path: Annotated[str, typer.Option(help="Folder in the run's files.")] = "outputs/model",
    as_json: AsJson = False,
) -> None:
    """Register the model of the best trial that completed."""
    with connect() as server:
        body = {"model_name": name, "path": path}
        made = server.post(server.path("sweeps", sweep, "best", "model"), body)
    if as_json:
        print_json(made)
    else:
        say(f"Model {name} has version {made['version']}.")


def _print(read: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(read)
        return
    error = read["error"] or {}
    print_facts(
        [
            ("sweep", read["id"]),
            ("name", read["display_name"]),
            ("status", read["status"]),
            ("ended by", read["end_reason"]),
            ("error", error.get("message")),
            *((f"waits for {one['object']}", one["clears_when"]) for one in read["blockers"]),
            ("cost", number(read["cost"])),
            ("trials", f"{read['trials_count']} of {read['limits']['max_trials']}"),
            ("under way", read["running_count"]),
            ("ended early", read["ended_early_count"]),
            ("failed", read["failed_count"]),
            ("best trial", read["best_trial"]),
            ("best run", read["best_run_id"]),
            (read["objective"]["primary_metric"], number(read["best_value"])),
        ]
    )
