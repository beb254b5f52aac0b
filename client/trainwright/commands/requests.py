"""`request`: any call of the API, for what has no command of its own."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands.output import print_json
from trainwright.commands.session import connect
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError


class BadRequest(TrainwrightError):
    """What should be sent cannot be."""


def request(
    method: Annotated[str, typer.Argument(help="GET, PUT, POST, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(help="/v1/…, or what follows the workspace: runs/ID.")],
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="JSON, @FILE with it, or - for standard input."),
    ] = None,
) -> None:
    """Call the API as it is and print the answer."""
    with connect() as server:
        body = _body(data)
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = server.request(method.upper(), _path(server, path), content=body, headers=headers)
    if "json" in answer.headers.get("Content-Type", ""):
        print_json(answer.json())
    elif sys.stdout.isatty() and answer.content:
        raise BadRequest("The answer is no JSON.", hint="Redirect standard output into a file.")
    else:
        sys.stdout.buffer.write(answer.content)


def _path(server: Connection, path: str) -> str:
    return path if path.startswith("/") else f"{server.path()}/{path}".rstrip("/")


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    try:
        if data == "-":
            text = sys.stdin.read()
        else:
            text = Path(data[1:]).read_text("utf-8") if data.startswith("@") else data
        value: Any = json.loads(text)
    except OSError as error:
        raise BadRequest(f"{data[1:]} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise BadRequest(f"--data is no JSON: {error}.") from None
    return json.dumps(value).encode()
