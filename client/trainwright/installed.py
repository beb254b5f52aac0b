"""Commands of other packages that are installed here, as the server's.

A package adds one through an entry point of the group `trainwright.commands`: its name is the
command, its value the module that is executed with the command and its options (`python -m`).
It takes the place of this process, whose id and signals it keeps.
"""

import os
import sys
from importlib.metadata import EntryPoint, entry_points

import typer

GROUP = "trainwright.commands"
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_installed(app: typer.Typer, *, panel: str) -> None:
    """Add a command for each that another package brings."""
    for point in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        _add(app, point, panel)


def _add(app: typer.Typer, point: EntryPoint, panel: str) -> None:
    @app.command(
        point.name,
        help=f"Of the server that is installed here; `{point.name} --help` says more.",
        context_settings=_PASSED_ON,
        add_help_option=False,
        rich_help_panel=panel,
    )
    def execute(context: typer.Context) -> None:
        sys.stdout.flush()
        os.execv(
            sys.executable,
            [sys.executable, "-P", "-m", point.module, point.name, *context.args],
        )
