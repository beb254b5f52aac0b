"""Which server, and which workspace, the command at hand is about."""

from dataclasses import dataclass
from typing import Annotated

import typer

from trainwright.commands.output import say
from trainwright.connection import RETRY_SECONDS, Connection, left_out_text
from trainwright.errors import ApiProblem
from trainwright.settings import UserSettings


@dataclass
class Given:
    """What was given before the command.

    Attributes:
        url: of the server; None: as set or kept.
        workspace: None: as set or kept.
        retry_seconds: how long an outage is waited out, except while something is followed or sent.
    """

    url: str | None = None
    workspace: str | None = None
    retry_seconds: float = RETRY_SECONDS


given = Given()
"""Of this process: a command line is one command."""

Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="Address of the server; absent: TRAINWRIGHT_URL, config.json, login."
    ),
]
Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace", "-w", help="Workspace; absent: TRAINWRIGHT_WORKSPACE, config.json."
    ),
]
RetrySeconds = Annotated[
    float,
    typer.Option(help="So long an outage is waited out; longer while logs or files move.", min=0),
]


def connect() -> Connection:
    """A connection for this command, which tells of outages."""
    return Connection.open(
        url=given.url,
        workspace=given.workspace,
        user=UserSettings(),
        retry_seconds=given.retry_seconds,
        on_retry=_Outages(),
        on_left_out=lambda names: say(f"warning: {left_out_text(names)}", style="yellow"),
    )


class _Outages:
    """Says once that something is being waited out, not at each try."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, error: BaseException, seconds: float) -> None:
        if isinstance(error, ApiProblem):
            words = f"the server cannot do it now ({error.message})"
        else:
            words = f"the connection failed ({str(error) or type(error).__name__})"
        if words != self._told and seconds >= 0.4:
            self._told = words
            say(f"{words}; trying again", style="yellow")
