"""`dataset register | list | files | download`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.fetching import fetch_all
from trainwright.commands.output import (
    AsJson,
    age,
    print_json,
    print_line,
    print_table,
    say,
    size,
)
from trainwright.commands.session import connect
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError

app = typer.Typer(no_args_is_help=True, help="Register, list and fetch datasets.")
_POLL_SECONDS = 0.5

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VERSION]", help="Without a version: latest.", autocompletion=names.datasets
    ),
]


class RegistrationFailed(TrainwrightError):
    """The server could not fetch what was to be registered."""


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Of the dataset.")],
    urls: Annotated[list[str], typer.Argument(help="Web addresses of its files.")],
    *,
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    flat: Annotated[
        bool, typer.Option("--flat", help="Keep file names only, not scheme and host as folders.")
    ] = False,
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Even when the content is the same.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register files at web addresses; waits until they are fetched and pinned."""
    body = {
        "name": name,
        "urls": urls,
        "description": description,
        "layout": "flat" if flat else "url",
        "create_new_version": new_version,
    }
    with connect() as server:
        asked = server.post(server.path("datasets"), body)
        found = _registered(server, asked) if "state" in asked else asked
    if as_json:
        print_json(found)
    else:
        say(f"Dataset {name} has version {found['version']}: {size(found['size_bytes'])}.")


@app.command("list")
def list_datasets(*, as_json: AsJson = False) -> None:
    """List datasets."""
    with connect() as server:
        items = list(server.pages(server.path("datasets")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["NAME", "LATEST", "DESCRIPTION", "AGE"],
        ([i["name"], i["latest_version"], i["description"], age(i["created_at"])] for i in items),
    )


@app.command()
def files(dataset: Dataset, *, as_json: AsJson = False) -> None:
    """List the files of a version."""
    with connect() as server:
        items = list(server.pages(server.path(*_version(server, dataset), "files")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["PATH", "SIZE", "SHA-256"],
        ([i["path"], size(i["size_bytes"]), i["sha256"]] for i in items),
    )


@app.command()
def download(
    dataset: Dataset,
    *,
    to: Annotated[Path | None, typer.Option(help="Folder; absent: the dataset's name.")] = None,
) -> None:
    """Fetch the files of a version, checked; what is there already is not fetched again."""
    folder = to or Path(dataset.partition(":")[0])
    with connect() as server:
        files_of = (*_version(server, dataset), "files")
        items = list(server.pages(server.path(*files_of)))
        fetch_all(
            server, items, folder, lambda item: server.path(*files_of, *item["path"].split("/"))
        )
    print_line(str(folder))


def _registered(server: Connection, asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["name"]
    path = server.path("datasets", name, "registrations", asked["id"])
    while asked["state"] == "Pending":
        time.sleep(_POLL_SECONDS)
        asked = server.get(path)
    if asked["state"] != "Succeeded":
        error = asked.get("error") or {}
        raise RegistrationFailed(str(error.get("message") or "The registration failed."))
    found: dict[str, Any] = server.get(server.path("datasets", name, "versions", asked["version"]))
    return found


def _version(server: Connection, dataset: str) -> tuple[str | int, ...]:
    """Where a version is, by its number: which one is the latest may change meanwhile."""
    name, _, version = dataset.partition(":")
    found = server.get(server.path("datasets", name, "versions", version or "latest"))
    return "datasets", name, "versions", found["version"]
