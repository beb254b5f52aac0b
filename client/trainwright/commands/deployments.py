"""`deploy`, `score`, and `deployment …`: deployments, their traffic and their keys."""

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

app = typer.Typer(no_args_is_help=True, help="Deployments, their traffic and their keys.")
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
    gpu: Annotated[int | None, typer.Option(help="GPUs of each.", min=0)] = None,
    min_replicas: Annotated[
        int | None, typer.Option(help="Follow the load; 0: none while nobody asks.", min=0)
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option(help="Follow the load up to so many.", min=1)
    ] = None,
    target_concurrency: Annotated[
        float | None, typer.Option(help="Requests under way at a time, for each replica.")
    ] = None,
    idle_seconds: Annotated[
        float | None, typer.Option(help="Fewer replicas only when so long fewer do.")
    ] = None,
    max_body_bytes: Annotated[
        int | None, typer.Option(help="Of a request, else 413.", min=1)
    ] = None,
    max_waiting: Annotated[
        int | None, typer.Option(help="Requests that wait at a replica, else 429.", min=1)
    ] = None,
    timeout_seconds: Annotated[float | None, typer.Option(help="For an answer, else 504.")] = None,
    capture_percent: Annotated[
        float | None, typer.Option(help="Keep so much of requests and answers.", min=0, max=100)
    ] = None,
    capture_keep_days: Annotated[
        float | None, typer.Option(help="Keep them for so long.", min=0)
    ] = None,
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a model behind an address, and wait until a real inference has answered.

    What is not given is as the server has it by default, also where the deployment is there.
    """
    model_name, _, version = model.partition(":")
    parts: dict[str, dict[str, Any]] = {
        "resource_configuration": {"cpu": cpu, "memory_gb": memory_gb, "gpu": gpu},
        "limits": {
            "max_body_bytes": max_body_bytes,
            "max_waiting": max_waiting,
            "timeout_seconds": timeout_seconds,
        },
        "autoscale": {
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "target_concurrency": target_concurrency,
            "idle_seconds": idle_seconds,
        },
        "data_capture": {"percent": capture_percent, "keep_days": capture_keep_days},
    }
    body: dict[str, Any] = {"model_name": model_name, "model_version": version_of(version)}
    for key, part in parts.items():
        if given := {name: value for name, value in part.items() if value is not None}:
            body[key] = given
    if "autoscale" in body and max_replicas is None:
        raise typer.BadParameter("scaling needs --max-replicas")
    if replicas is not None:
        body["replicas"] = replicas
    if description:
        body["description"] = description
    with connect() as server:
        path = server.path("deployments", name)
        found = server.put(path, body)
        found = _shown(server, path, found, is_awaited=not no_wait, as_json=as_json)
    if not as_json:
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
def rollback(
    deployment: Deployment,
    *,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Go back to what was healthy before the last change, and wait until it is again."""
    with connect() as server:
        path = server.path("deployments", deployment)
        found = server.post(f"{path}/rollback")
        found = _shown(server, path, found, is_awaited=not no_wait, as_json=as_json)
    if not no_wait and found["state"] != "Healthy":
        raise typer.Exit(FAILED)


@app.command()
def traffic(
    deployment: Deployment,
    *,
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="OTHER=PERCENT", help="So much another deployment answers."),
    ] = None,
    shadow: Annotated[
        list[str] | None,
        typer.Option(metavar="OTHER=PERCENT", help="Of so much another one gets a copy."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="All of it is answered here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a deployment's requests go, or say where from now on."""
    if clear and (share or shadow):
        raise typer.BadParameter("--clear goes with nothing else")
    with connect() as server:
        path = server.path("deployments", deployment, "traffic")
        if clear or share or shadow:
            rules = {"shares": _percents(share), "shadow": _percents(shadow)}
            # What is written is all of it, whatever was there before.
            anything = {"If-Match": "*"}
            found = server.request("PUT", path, json=rules, headers=anything).json()
        else:
            found = server.get(path)
    if as_json:
        print_json(found)
        return
    rows = [(name, percent, "answers") for name, percent in found["shares"].items()]
    rows += [(name, percent, "gets copies") for name, percent in found["shadow"].items()]
    here = 100 - sum(found["shares"].values())
    print_table(["DEPLOYMENT", "PERCENT", "WHAT"], [(deployment, here, "answers"), *rows])


@app.command("regenerate-key")
def regenerate_key(
    deployment: Deployment,
    key: Annotated[str, typer.Argument(metavar="primary|secondary", help="Which one.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Replace one key of a deployment; the old one is refused from now on."""
    with connect() as server:
        path = server.path("deployments", deployment, "keys", "regenerate")
        found = server.post(path, {"key": key})
    if as_json:
        print_json(found)
    else:
        print_facts(found.items())


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


def version_of(text: str) -> int | str:
    """What follows a name and a colon: a number, an alias, or latest."""
    if text in {"", "latest"}:
        return "latest"
    if not _VERSION.fullmatch(text):
        raise typer.BadParameter("write the model as NAME, NAME:latest, NAME:3 or NAME:champion")
    return int(text) if text.isdecimal() else text


def _percents(assignments: list[str] | None) -> dict[str, float]:
    percents = {}
    for assignment in assignments or []:
        name, _, percent = assignment.partition("=")
        try:
            percents[name] = float(percent)
        except ValueError:
            raise typer.BadParameter(f"{assignment}: write it as OTHER=PERCENT") from None
    return percents


def _shown(
    server: Connection, path: str, found: dict[str, Any], *, is_awaited: bool, as_json: bool
) -> dict[str, Any]:
    """Wait for the deployment where that is wished, and print it."""
    if is_awaited:
        found = _settled(server, path, found)
    if as_json:
        print_json(found)
    else:
        _print(found)
    return found


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
