"""The command line `trainwright`."""

import sys

import typer

from trainwright.errors import TrainwrightError
from trainwright.installed import add_installed

app = typer.Typer(
    name="trainwright",
    help="Train, register and serve models on your own machines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options() -> None:
    """Train, register and serve models on your own machines."""


def main() -> None:
    """Run the command line."""
    add_installed(app, panel="Server")
    try:
        app()
    except TrainwrightError as error:
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(error.hint, err=True)
        sys.exit(3)
