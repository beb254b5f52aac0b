"""`runs`, `run show | cancel | delete`, `why`."""

from itertools import islice
from typing import Annotated

import typer

from trainwright.commands import names
from trainwright.commands.describing import blocker, estimated, failure, print_run
from trainwright.commands.output import (
    AsJson,
    age,
    between,
    print_json,
    print_line,
    print_table,
    say,
)
from trainwright.commands.session import connect
from trainwright.commands.watching import cancel as ask_for_end
from trainwright.streams import TERMINAL

app = typer.Typer(no_args_is_help=True, help="Show, cancel and delete a run.")

Run = Annotated[str, typer.Argument(help="Id of a run.", autocompletion=names.runs)]


def list_runs(
    *,
    experiment: Annotated[
        str | None, typer.Option(help="Only of this one.", autocompletion=names.experiments)
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Only on this one.", autocompletion=names.clusters)
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only in this state; may be repeated.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="KEY or KEY=VALUE; all must hold.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="loss<0.5; all must hold.")] = None,
    order_by: Annotated[
        str | None, typer.Option(help="metrics.NAME, or -metrics.NAME for the highest first.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="So many at most.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    params = {
        "experiment_name": experiment,
        "cluster_name": cluster,
        "status": status,
        "tag": tag,
        "metric": metric,
        "order_by": order_by,
    }
    asked = {name: value for name, value in params.items() if value}
    with connect() as server:
        pages = server.pages(server.path("runs"), params={**asked, "page_size": min(limit, 1000)})
        items = list(islice(pages, limit))
    if as_json:
        print_json(items)
        return
    print_table(
        ["ID", "STATUS", "EXPERIMENT", "NAME", "AGE", "TOOK"],
        (
            [
                item["id"],
                item["status"],
                item["experiment_name"],
                item["display_name"],
                age(item["created_at"]),
                between(item["started_at"], item["ended_at"]),
            ]
            for item in items
        ),
    )


@app.command()
def show(run: Run, *, as_json: AsJson = False) -> None:
    """Show a run: its state, why it waits, why it failed."""
    with connect() as server:
        found = server.get(server.path("runs", run))
    if as_json:
        print_json(found)
        return
    print_run(found)
    for line in (found["error"] or {}).get("last_lines") or []:
        print_line(f"  {line}")


@app.command()
def cancel(run: Run) -> None:
    """Ask for the end of a run; what it left in ./outputs is kept."""
    with connect() as server:
        ask_for_end(server, run)


@app.command()
def delete(
    run: Run,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a run that is over, with its logs, metrics and files."""
    with connect() as server:
        found = server.get(server.path("runs", run))
        if not yes:
            typer.confirm(f"Delete {found['id']} with all its files?", abort=True, err=True)
        server.delete(server.path("runs", run))
    say(f"{run} is deleted.")


def why(run: Run, *, as_json: AsJson = False) -> None:
    """Say why a run is not running: what it waits for, since when, what clears it."""
    with connect() as server:
        found = server.get(server.path("runs", run))
    if as_json:
        fields = ("id", "status", "queue_position", "blockers", "error")
        print_json({**{name: found[name] for name in fields}, "estimate": found.get("estimate")})
        return
    position = found["queue_position"]
    print_line(
        f"{found['id']} is {found['status']}"
        + (f", number {position} in the queue" * bool(position))
    )
    if text := estimated(found):
        print_line(text)
    for reason in found["blockers"]:
        print_line(f"- {blocker(reason)} (for {age(reason['since'])})")
    if found["error"]:
        print_line(failure(found["error"]))
    elif not found["blockers"]:
        is_over = found["status"] in TERMINAL or found["status"] == "Running"
        print_line("Nothing is in its way." if is_over else "Nothing is known to be in its way.")
