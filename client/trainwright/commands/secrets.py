"""`secrets set | list | delete`: values go in and never come out."""

import base64
import sys
from pathlib import Path
from typing import Annotated

import typer

from trainwright.commands.output import AsJson, age, print_json, print_table, say
from trainwright.commands.session import connect
from trainwright.errors import TrainwrightError

app = typer.Typer(no_args_is_help=True, help="Set, list and delete secrets of the workspace.")


class NoValue(TrainwrightError):
    """There is no value to set."""


@app.command("set")
def set_secret(
    name: Annotated[str, typer.Argument(help="Of the secret.")],
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Take the content of this file, byte by byte."),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Give a secret a new value: typed, from standard input, or from a file.

    It is no argument, because other users of a machine can see those.
    """
    value = _value(name, file)
    body = {"description": description}
    try:
        body |= {"value": value.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        body |= {"value": base64.b64encode(value).decode(), "encoding": "base64"}
    with connect() as server:
        made = server.put(server.path("secrets", name), body)
    say(f"Secret {name} has version {made['version']}.")


@app.command("list")
def list_secrets(*, as_json: AsJson = False) -> None:
    """List the names of secrets."""
    with connect() as server:
        items = list(server.pages(server.path("secrets")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["NAME", "VERSION", "DESCRIPTION", "CHANGED"],
        ([i["name"], i["version"], i["description"], age(i["updated_at"])] for i in items),
    )


@app.command()
def delete(name: Annotated[str, typer.Argument(help="Of the secret.")]) -> None:
    """Delete a secret with all its versions."""
    with connect() as server:
        server.delete(server.path("secrets", name))
    say(f"Secret {name} is deleted.")


def _value(name: str, file: Path | None) -> bytes:
    if file is not None:
        try:
            return file.read_bytes()
        except OSError as error:
            raise NoValue(f"{file} cannot be read: {error.strerror}.") from None
    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Value of {name}", hide_input=True, err=True)
        return typed.encode()
    # A line end is how `echo` ends, not part of a password.
    value = sys.stdin.buffer.read().removesuffix(b"\n")
    if not value:
        raise NoValue("Standard input is empty.")
    return value
