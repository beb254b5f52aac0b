"""`logs`, `events`, `metrics`, `download`: what a run leaves behind."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from trainwright.commands.fetching import fetch_all
from trainwright.commands.output import (
    AsJson,
    number,
    print_json,
    print_line,
    print_record,
    print_table,
)
from trainwright.commands.runs import Run
from trainwright.commands.session import connect
from trainwright.commands.watching import show_record
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError
from trainwright.streams import follow_events, follow_log, read_lines, read_log
from trainwright.texts import clean

_PLOTTING = "trainwright.commands.plotting"
_PLOT_POINTS = 500


class NoSuchRank(TrainwrightError):
    """The run has no such process."""


class NoSuchFiles(TrainwrightError):
    """The run has left nothing of this name."""


def logs(
    run: Run,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on to the end.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", help="Only the last lines.", min=0)
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Only of this process.", min=0)] = None,
    node: Annotated[int | None, typer.Option(help="Only of this node.", min=0)] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    since: Annotated[
        str | None, typer.Option(help="A moment such as 2026-01-31T12:00:00Z.")
    ] = None,
    grep: Annotated[str | None, typer.Option(help="Lines that match (RE2).")] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", "-t", help="When each was written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the log of a run; an outage of the network or the server is waited out."""
    with connect() as server:
        params: dict[str, Any] = {"tail": tail, "node": node, "since": since, "grep": grep}
        params["stream"] = stream if rank is None else _stream_of(server, run, rank)
        asked = {name: value for name, value in params.items() if value is not None}
        read = follow_log if follow else read_log
        for record in read(server, server.path("runs", run, "logs"), params=asked):
            show_record(record, as_json=as_json, timestamps=timestamps)


def events(
    run: Run,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on to the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what happened to a run."""
    with connect() as server:
        for event in follow_events(server, run) if follow else _events(server, run):
            if as_json:
                print_record(event)
                continue
            reason = f": {event['reason']}" if event["reason"] else ""
            print_line(
                f"{event['seq']:>4}  {event['created_at']}  {event['status']:<16}"
                f" {event['type']} by {event['actor']}{reason}"
            )


def metrics(
    run: Run,
    *,
    name: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the curves.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="All values, one row each.")] = False,
    host: Annotated[bool, typer.Option("--host", help="What its nodes used instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run logged: a table, curves, or all values."""
    params: dict[str, Any] = {"name": name or [], "namespace": "host" if host else ""}
    with connect() as server:
        path = server.path("runs", run, "metrics")
        if csv:
            for line in read_lines(server, f"{path}/export", params=params):
                typer.echo(clean(line) if sys.stdout.isatty() else line)
            return
        if plot:
            items = server.get(path, params={**params, "max_points": _PLOT_POINTS})["items"]
        else:
            items = server.get(f"{path}/summary", params=params)["items"]
    if as_json:
        print_json(items)
    elif plot:
        # By name: the library takes as long to load as all the rest of a command.
        import_module(_PLOTTING).plot(items)
    else:
        _print_metrics(items)


def download(
    run: Run,
    prefix: Annotated[str, typer.Argument(help="Only files whose path begins so.")] = "outputs/",
    *,
    to: Annotated[Path | None, typer.Option(help="Folder; absent: the run's id.")] = None,
) -> None:
    """Fetch files of a run, checked; repeated, it goes on where it broke off."""
    folder = to or Path(run)
    with connect() as server:
        items = list(server.pages(server.path("runs", run, "files"), params={"prefix": prefix}))
        if not items:
            raise NoSuchFiles(
                f"The run has no files under {prefix!r}.",
                hint=f"`trainwright request GET runs/{run}/files` lists all.",
            )
        fetch_all(
            server,
            items,
            folder,
            lambda item: server.path("runs", run, "files", *item["path"].split("/")),
        )
    print_line(str(folder))


def _stream_of(server: Connection, run: str, rank: int) -> str:
    processes = server.pages(server.path("runs", run, "processes"))
    by_rank = {process["rank"]: process["stream"] for process in processes}
    if rank not in by_rank:
        known = ", ".join(map(str, by_rank)) or "none yet"
        raise NoSuchRank(f"The run has no process of rank {rank}.", hint=f"Its ranks: {known}.")
    return str(by_rank[rank])


def _events(server: Connection, run: str) -> Iterator[dict[str, Any]]:
    after = 0
    while found := server.get(server.path("runs", run, "events"), params={"after": after})["items"]:
        yield from found
        after = found[-1]["seq"]


def _print_metrics(items: list[dict[str, Any]]) -> None:
    print_table(
        ["NAME", "LAST", "STEP", "MIN", "MAX", "COUNT"],
        (
            [
                item["name"],
                number(item["last"]),
                item["last_step"],
                number(item["min"]),
                number(item["max"]),
                item["count"],
            ]
            for item in items
        ),
    )
