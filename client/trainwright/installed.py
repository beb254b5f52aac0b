"""Commands of other packages that are installed here, as the server's.

A package adds one through an entry point of the group `trainwright.commands`. Its name is the
command (`up`), or a command of one of our groups (`secrets.rotate-key`); its value is the module
that is executed with the command and its options (`python -m`). It takes the place of this process,
whose id and signals it keeps.
"""

import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

import typer

GROUP = "trainwright.commands"
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def add_installed(app: typer.Typer, groups: Mapping[str, typer.Typer], *, panel: str) -> None:
    """Add a command for each that another package brings.

    Args:
        app: the command line.
        groups: those of its groups that others may add to.
        panel: of the help, for the commands that are in no group.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        *parents, name = point.name.split(".")
        _add(groups[parents[0]] if parents else app, name, point, panel)


def _add(app: typer.Typer, name: str, point: EntryPoint, panel: str) -> None:
    @app.command(
        name,
        help=f"Of the server that is installed here; `{name} --help` says more.",
        context_settings=_PASSED_ON,
        add_help_option=False,
        rich_help_panel=panel,
    )
    def execute(context: typer.Context) -> None:
        sys.stdout.flush()
        words = point.name.split(".")
        os.execv(sys.executable, [sys.executable, "-P", "-m", point.module, *words, *context.args])
