"""`workspace create | list | use`."""

from typing import Annotated

import typer

from trainwright.commands import names
from trainwright.commands.output import AsJson, age, print_json, print_table, say
from trainwright.commands.session import connect
from trainwright.settings import UserSettings

app = typer.Typer(no_args_is_help=True, help="Make, list and choose workspaces.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Of the new workspace.")],
    *,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a workspace and choose it."""
    with connect() as server:
        made = server.post(
            server.server_path("workspaces"), {"name": name, "description": description}
        )
        UserSettings().use_workspace(server.url, made["name"])
    if as_json:
        print_json(made)
    else:
        say(f"Workspace {made['name']} is made and chosen.")


@app.command("list")
def list_workspaces(*, as_json: AsJson = False) -> None:
    """List workspaces; the chosen one has a star."""
    with connect() as server:
        items = list(server.pages(server.server_path("workspaces")))
        chosen = server.workspace
    if as_json:
        print_json(items)
        return
    print_table(
        ["", "NAME", "DESCRIPTION", "AGE"],
        (
            ["*" if i["name"] == chosen else "", i["name"], i["description"], age(i["created_at"])]
            for i in items
        ),
    )


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="Its name.", autocompletion=names.workspaces)],
) -> None:
    """Choose the workspace for commands from now on."""
    with connect() as server:
        server.get(server.server_path("workspaces", name))
        UserSettings().use_workspace(server.url, name)
    say(f"Workspace {name} is chosen.")
