"""`deployment capture list | download | register`: requests and answers that a deployment kept."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.fetching import fetch_all
from trainwright.commands.output import AsJson, age, print_json, print_line, print_table, size
from trainwright.commands.session import connect

app = typer.Typer(no_args_is_help=True, help="Requests and answers that a deployment kept.")

Deployment = Annotated[str, typer.Argument(help="Its name.", autocompletion=names.deployments)]


@app.command("list")
def list_captures(deployment: Deployment, *, as_json: AsJson = False) -> None:
    """List files of captured predictions, the newest first."""
    with connect() as server:
        items = list(server.pages(server.path("deployments", deployment, "captures")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["FILE", "PREDICTIONS", "SIZE", "AGE"],
        ([i["path"], i["record_count"], size(i["size_bytes"]), age(i["last_at"])] for i in items),
    )


@app.command()
def download(
    deployment: Deployment,
    *,
    to: Annotated[
        Path | None, typer.Option(help="Folder; absent: the deployment's name, with -captures.")
    ] = None,
) -> None:
    """Fetch all files; what is there already is not fetched again."""
    folder = to or Path(f"{deployment}-captures")
    with connect() as server:
        path = server.path("deployments", deployment, "captures")
        fetch_all(server, list(server.pages(path)), folder, lambda item: f"{path}/{item['id']}")
    print_line(str(folder))


@app.command()
def register(
    deployment: Deployment,
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")],
    *,
    after: Annotated[datetime | None, typer.Option(help="Predictions from then on.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Predictions before then.")] = None,
    description: Annotated[str, typer.Option(help="Of the version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make the next version of a dataset out of captured files."""
    body: dict[str, Any] = {"dataset_name": dataset, "description": description}
    for key, moment in (("after", after), ("before", before)):
        if moment is not None:
            body[key] = moment.astimezone().isoformat()
    with connect() as server:
        made = server.post(server.path("deployments", deployment, "captures", "register"), body)
    if as_json:
        print_json(made)
    else:
        print_line(f"{made['name']}:{made['version']}  {made['files_count']} files")
