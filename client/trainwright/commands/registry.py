"""`models alias | unalias | compare | verify | lineage`."""

from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.output import AsJson, print_json, print_table, say
from trainwright.commands.session import connect

Name = Annotated[str, typer.Argument(help="Of the model.", autocompletion=names.models)]
Version = Annotated[str, typer.Argument(help="Number, latest or alias.")]
EXIT_DAMAGED = 1


def alias(
    name: Name,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as champion.")],
    version: Version = "latest",
    *,
    as_json: AsJson = False,
) -> None:
    """Let an alias point to a version."""
    with connect() as server:
        found = server.put(server.path("models", name, "aliases", alias_name), {"version": version})
    if as_json:
        print_json(found)
    else:
        say(f"{alias_name} of model {name} is version {found['version']}.")


def unalias(
    name: Name,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as champion.")],
) -> None:
    """Remove an alias; the version stays."""
    with connect() as server:
        server.delete(server.path("models", name, "aliases", alias_name))


def compare(name: Name, left: Version, right: Version, *, as_json: AsJson = False) -> None:
    """Say what differs between two versions, and the metrics of their runs."""
    with connect() as server:
        found = server.get(
            server.path("models", name, "compare"), params={"left": left, "right": right}
        )
    if as_json:
        print_json(found)
        return
    print_table(
        ["", str(found["left"]["version"]), str(found["right"]["version"])],
        [
            *([f"metric {each['name']}", each["left"], each["right"]] for each in found["metrics"]),
            ["size (bytes)", found["left"]["size_bytes"], found["right"]["size_bytes"]],
            *(
                [f"{each['side']} {each['name']}", _tensor(each["left"]), _tensor(each["right"])]
                for each in found["signature"]
            ),
            *(
                [f"{group} {each['name']}".strip(), each["left"], each["right"]]
                for group, field in (
                    ("", "about"), ("tag", "tags"), ("property", "properties"), ("", "lineage"),
                )
                for each in found[field]
            ),
        ],
    )  # fmt: skip


def verify(name: Name, version: Version = "latest", *, as_json: AsJson = False) -> None:
    """Have all files of a version read again; exit code 1 when one is damaged."""
    with connect() as server:
        found = server.post(server.path("models", name, "versions", version, "verify"))
    if as_json:
        print_json(found)
    else:
        say(f"{found['state']}: {found['files_count']} files, {found['size_bytes']} bytes")
        print_table(["PATH", "PROBLEM"], ([i["path"], i["problem"]] for i in found["damaged"]))
    if found["state"] != "intact":
        raise typer.Exit(EXIT_DAMAGED)


def lineage(name: Name, version: Version = "latest", *, as_json: AsJson = False) -> None:
    """Say what a version was made of, and where it is served."""
    with connect() as server:
        found = server.get(server.path("models", name, "versions", version, "lineage"))
    if as_json:
        print_json(found)
        return
    print_table(
        ["KIND", "NAME", "ABOUT"],
        [
            *(["dataset", f"{i['dataset']}:{i['version']}", ""] for i in found["dataset_versions"]),
            *(["run", i["id"], f"{i['experiment_name']}, {i['status']}"] for i in found["runs"]),
            *(
                ["model", f"{i['model']}:{i['version']}", ", ".join(i["aliases"])]
                for i in found["model_versions"]
            ),
            *(["deployment", i["name"], i["state"]] for i in found["deployments"]),
        ],
    )


def _tensor(tensor: dict[str, Any] | None) -> str:
    return "" if tensor is None else f"{tensor['dtype']} {tensor['shape']}"


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group of models."""
    for command in (alias, unalias, compare, verify, lineage):
        app.command()(command)
