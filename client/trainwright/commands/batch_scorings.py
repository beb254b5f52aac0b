"""`batch score | list | show | cancel`."""

import time
from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.deployments import version_of
from trainwright.commands.output import AsJson, age, print_facts, print_json, print_table, say
from trainwright.commands.session import connect
from trainwright.connection import Connection

app = typer.Typer(no_args_is_help=True, help="Run a model over a dataset.")
_POLL_SECONDS = 1.0
_OVER = frozenset({"Completed", "Failed", "Canceled"})
FAILED = 1

Scoring = Annotated[str, typer.Argument(help="Its id.", autocompletion=names.batch_scorings)]


@app.command()
def score(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[:VERSION]",
            help="Without a version: latest.",
            autocompletion=names.models,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET[:VERSION]",
            help="Without a version: latest.",
            autocompletion=names.datasets,
        ),
    ],
    output: Annotated[str, typer.Argument(help="Dataset that the predictions become.")],
    *,
    cluster: Annotated[str, typer.Option(autocompletion=names.clusters)],
    experiment: Annotated[str, typer.Option(autocompletion=names.experiments)] = "batch-scoring",
    nodes: Annotated[int, typer.Option(help="They share the rows.", min=1)] = 1,
    files: Annotated[
        list[str] | None, typer.Option("--file", help="Path or pattern; absent: all files.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Of CSV files, for the one input.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV instead of JSON lines.")] = False,
    mini_batch_rows: Annotated[int, typer.Option(help="Rows in one call.", min=1)] = 64,
    max_failed_rows: Annotated[
        int, typer.Option(help="So many rows may fail; -1: any number.", min=-1)
    ] = 0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a dataset with a model, and wait for the predictions."""
    model_name, _, model_version = model.partition(":")
    dataset_name, _, dataset_version = dataset.partition(":")
    body = {
        "experiment_name": experiment,
        "cluster_name": cluster,
        "model_name": model_name,
        "model_version": version_of(model_version),
        "dataset_name": dataset_name,
        "dataset_version": version_of(dataset_version),
        "output_dataset_name": output,
        "output_format": "csv" if csv else "jsonl",
        "files": files or [],
        "columns": columns or [],
        "mini_batch_rows": mini_batch_rows,
        "max_failed_rows": None if max_failed_rows < 0 else max_failed_rows,
        "node_count": nodes,
    }
    with connect() as server:
        found = server.post(server.path("batch-scorings"), body)
        if not no_wait:
            found = _ended(server, found)
    _print(found, as_json=as_json)
    if not no_wait and found["status"] != "Completed":
        raise typer.Exit(FAILED)


@app.command("list")
def list_batch_scorings(*, as_json: AsJson = False) -> None:
    """List batch scorings, the newest first."""
    with connect() as server:
        items = list(server.pages(server.path("batch-scorings")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["SCORING", "MODEL", "DATASET", "STATUS", "ROWS", "FAILED", "AGE"],
        (
            [
                item["id"],
                f"{item['model_name']}:{item['model_version']}",
                f"{item['dataset_name']}:{item['dataset_version']}",
                item["status"],
                item["rows_scored"],
                item["rows_failed"],
                age(item["created_at"]),
            ]
            for item in items
        ),
    )


@app.command()
def show(scoring: Scoring, *, as_json: AsJson = False) -> None:
    """Show how far a batch scoring is."""
    with connect() as server:
        _print(server.get(server.path("batch-scorings", scoring)), as_json=as_json)


@app.command()
def cancel(scoring: Scoring, *, as_json: AsJson = False) -> None:
    """Ask for the end of a batch scoring and of its run."""
    with connect() as server:
        path = server.path("batch-scorings", scoring, "cancel")
        _print(server.post(path), as_json=as_json)


def _ended(server: Connection, found: dict[str, Any]) -> dict[str, Any]:
    say(f"Batch scoring {found['id']}: run {found['run_id']}.", style="dim")
    path = server.path("batch-scorings", found["id"])
    while found["status"] not in _OVER:
        time.sleep(_POLL_SECONDS)
        found = server.get(path)
    return found


def _print(read: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(read)
        return
    error = read["error"] or {}
    version = read["output_dataset_version"]
    print_facts(
        [
            ("batch scoring", read["id"]),
            ("status", read["status"]),
            ("error", error.get("message")),
            ("run", read["run_id"]),
            ("model", f"{read['model_name']}:{read['model_version']}"),
            ("dataset", f"{read['dataset_name']}:{read['dataset_version']}"),
            ("rows scored", read["rows_scored"]),
            ("rows failed", read["rows_failed"]),
            ("predictions", version and f"{read['output_dataset_name']}:{version}"),
        ]
    )
