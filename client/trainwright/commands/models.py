"""`models list | register`; the others are in `registry`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.output import AsJson, age, bytes_progress, print_json, print_table, say
from trainwright.commands.session import connect
from trainwright.connection import Connection
from trainwright.folders import source_files
from trainwright.uploads import plan_snapshot, send_files

app = typer.Typer(no_args_is_help=True, help="List and register models.")


@app.command("list")
def list_models(
    name: Annotated[
        str | None,
        typer.Argument(help="Versions of this one.", autocompletion=names.models),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List models, or the versions of one."""
    with connect() as server:
        path = server.path("models") if name is None else server.path("models", name, "versions")
        items = list(server.pages(path))
    if as_json:
        print_json(items)
    elif name is None:
        print_table(
            ["NAME", "LATEST", "AGE"],
            ([i["name"], i.get("latest_version"), age(i["created_at"])] for i in items),
        )
    else:
        print_table(
            ["VERSION", "FRAMEWORK", "SAMPLE", "RUN", "AGE"],
            (
                [
                    i["version"],
                    f"{i['framework']} {i['framework_version']}".strip(),
                    (i.get("capture") or {}).get("state"),
                    (i.get("lineage") or {}).get("run_id"),
                    age(i["created_at"]),
                ]
                for i in items
            ),
        )


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Of the model.", autocompletion=names.models)],
    *,
    run: Annotated[
        str | None, typer.Option(help="From the files of this run.", autocompletion=names.runs)
    ] = None,
    path: Annotated[str, typer.Option(help="Folder in the run's files.")] = "outputs/model",
    folder: Annotated[
        Path | None,
        typer.Option(help="From this folder instead.", exists=True, file_okay=False),
    ] = None,
    framework: Annotated[
        str, typer.Option(help="tensorflow, onnx, scikit-learn or custom.")
    ] = "tensorflow",
    framework_version: Annotated[str, typer.Option(help="As it was trained with.")] = "",
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    as_json: AsJson = False,
) -> None:
    """Register the next version of a model."""
    if (run is None) == (folder is None):
        raise typer.BadParameter("give either --run or --folder")
    body: dict[str, Any] = {
        "framework": framework,
        "framework_version": framework_version,
        "description": description,
    }
    with connect() as server:
        if folder is None:
            body |= {"run_id": run, "path": path}
        else:
            body["files"] = _sent(server, folder)
        made = server.post(server.path("models", name, "versions"), body)
    if as_json:
        print_json(made)
    else:
        say(f"Model {name} has version {made['version']}.")


def _sent(server: Connection, folder: Path) -> list[dict[str, Any]]:
    with bytes_progress() as progress:
        reading = progress.add_task("Reading", total=None)
        files = source_files(folder, on_bytes=lambda count: progress.advance(reading, count))
        plan = plan_snapshot(server, files)
        progress.remove_task(reading)
        sending = progress.add_task("Sending", total=plan.missing_bytes)
        send_files(server, plan.missing, on_bytes=lambda count: progress.advance(sending, count))
    return [
        {"path": file.path, "sha256": file.sha256, "size_bytes": file.size_bytes} for file in files
    ]
