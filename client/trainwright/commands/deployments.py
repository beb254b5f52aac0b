"""`deploy`, `score`, `deployment list | show | keys | delete`."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.output import (
    AsJson,
    age,
    print_facts,
    print_json,
    print_line,
    print_table,
    say,
)
from trainwright.commands.session import connect
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError

app = typer.Typer(no_args_is_help=True, help="List, show and delete deployments; their keys.")
_POLL_SECONDS = 1.0
_VERSION = re.compile(r"[1-9][0-9]{0,8}|[A-Za-z_-][A-Za-z0-9_-]*")
_SETTLED = frozenset({"Healthy", "Unhealthy", "Unschedulable", "Failed"})
FAILED = 1

Deployment = Annotated[str, typer.Argument(help="Its name.", autocompletion=names.deployments)]


class NoJson(TrainwrightError):
    """What should be sent is no JSON."""


def deploy(
    name: Annotated[
        str, typer.Argument(help="Of the deployment.", autocompletion=names.deployments)
    ],
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[:VERSION]",
            help="A number or an alias; without: latest.",
            autocompletion=names.models,
        ),
    ],
    *,
    replicas: Annotated[int | None, typer.Option(help="Serving processes.", min=1)] = None,
    cpu: Annotated[float | None, typer.Option(help="Cores of each; absent: the model's.")] = None,
    memory_gb: Annotated[float | None, typer.Option(help="Memory of each.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a model behind an address, and wait until a real inference has answered."""
    model_name, _, version = model.partition(":")
    body: dict[str, Any] = {"model_name": model_name, "model_version": _version(version)}
    resources = {"cpu": cpu, "memory_gb": memory_gb}
    if given := {key: value for key, value in resources.items() if value is not None}:
        body["resource_configuration"] = given
    if replicas is not None:
        body["replicas"] = replicas
    with connect() as server:
        path = server.path("deployments", name)
        found = server.put(path, body)
        if not no_wait:
            found = _settled(server, path, found)
    if as_json:
        print_json(found)
    else:
        _print(found)
        say(f"trainwright deployment keys {name} shows what callers send as Bearer.", style="dim")
    if not no_wait and found["state"] != "Healthy":
        raise typer.Exit(FAILED)


def score(
    deployment: Deployment,
    data: Annotated[
        str, typer.Argument(help="JSON, or a file with it; - is standard input.")
    ] = "-",
) -> None:
    """Send JSON to a deployment and print what comes back."""
    body = _json_of(data)
    with connect() as server:
        path = server.path("deployments", deployment)
        key = server.get(f"{path}/keys")["primary"]
        answer = server.request(
            "POST", f"{path}/score", json=body, headers={"Authorization": f"Bearer {key}"}
        )
    typer.echo(json.dumps(answer.json()))


@app.command("list")
def list_deployments(*, as_json: AsJson = False) -> None:
    """List deployments."""
    with connect() as server:
        items = list(server.pages(server.path("deployments")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["NAME", "MODEL", "STATE", "READY", "AGE"],
        (
            [
                i["name"],
                f"{i['model_name']}:{i['model_version']}",
                i["state"],
                f"{i['ready_replicas']}/{i['replicas']}",
                age(i["created_at"]),
            ]
            for i in items
        ),
    )


@app.command()
def show(deployment: Deployment, *, as_json: AsJson = False) -> None:
    """Show a deployment's state and addresses."""
    with connect() as server:
        found = server.get(server.path("deployments", deployment))
    if as_json:
        print_json(found)
    else:
        _print(found)


@app.command()
def keys(deployment: Deployment, *, as_json: AsJson = False) -> None:
    """Show both keys of a deployment."""
    with connect() as server:
        found = server.get(server.path("deployments", deployment, "keys"))
    if as_json:
        print_json(found)
    else:
        print_facts(found.items())


@app.command()
def delete(deployment: Deployment) -> None:
    """Take a deployment down."""
    with connect() as server:
        server.delete(server.path("deployments", deployment))
    say(f"Deployment {deployment} goes.")


def _version(text: str) -> int | str:
    if text in {"", "latest"}:
        return "latest"
    if not _VERSION.fullmatch(text):
        raise typer.BadParameter("write the model as NAME, NAME:latest, NAME:3 or NAME:champion")
    return int(text) if text.isdecimal() else text


def _settled(server: Connection, path: str, found: dict[str, Any]) -> dict[str, Any]:
    told = ""
    while found["state"] not in _SETTLED:
        words = f"{found['state']}: {found['ready_replicas']} of {found['replicas']} ready"
        if words != told:
            told = words
            say(words, style="dim")
        time.sleep(_POLL_SECONDS)
        found = server.get(path)
    return found


def _json_of(data: str) -> Any:
    try:
        if data == "-":
            text = sys.stdin.read()
        else:
            text = data if data.lstrip()[:1] in {"{", "["} else Path(data).read_text("utf-8")
        return json.loads(text)
    except OSError as error:
        raise NoJson(f"{data} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise NoJson(f"This is no JSON: {error}.") from None


def _print(found: dict[str, Any]) -> None:
    error = found["error"] or {}
    print_facts(
        [
            ("name", found["name"]),
            ("state", found["state"]),
            ("model", f"{found['model_name']}:{found['model_version']}"),
            ("replicas", f"{found['ready_replicas']} of {found['replicas']} ready"),
            ("address", found["scoring_uri"]),
            ("document", found["swagger_uri"]),
            ("error", error.get("message")),
        ]
    )
    for line in error.get("last_lines") or []:
        print_line(f"  {line}")
