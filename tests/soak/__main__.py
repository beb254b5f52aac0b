"""``make soak MINUTES=2 SEED=1``: a whole stack under load and faults, counted."""

import json
import random
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from examples.walk.stack import Stack
from tests import links
from tests.client.door import Door
from tests.soak.faults import PARTS, Faults, processes
from tests.soak.history import Findings, read
from tests.soak.load import WORKSPACE_NAME, Client, Load
from trainwright.connection import Connection

_ENDS = frozenset({"Completed", "Failed", "Canceled"})
_REST_SECONDS = 600.0
_SHOWN = 10


def soak(folder: Path, *, seconds: float, seed: int) -> dict[str, Any]:
    """Hurt a stack for so long, heal it, wait until all has ended, and look at its history.

    Args:
        folder: an empty one.
        seconds: how long faults are injected.
        seed: of load and faults.
    """
    port = _free_port()
    with ExitStack() as network:
        link = network.enter_context(links.link()) if links.can_be_made() else None
        listening = None if link is None else link.listen()
        door = network.enter_context(Door(f"http://127.0.0.1:{port}", listening))
        # Runners, too, reach the API through what is cut.
        settings = {
            "TRAINWRIGHT_NODE_URL": door.address,
            "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
            "TRAINWRIGHT_RATE_LIMITS": json.dumps({"read": "", "write": "", "submit": ""}),
        }
        stack = Stack(folder / "data", settings=settings, port=port)
        stack.start()
        client = Client(door.address, stack.token)
        connection = network.enter_context(
            Connection(door.address, token=stack.token, workspace=WORKSPACE_NAME)
        )
        load = Load(client, connection, seed=seed)
        faults = Faults(stack, door, link, seed=seed)
        try:
            load.prepare(nodes=2)
            load.start()
            pause = random.Random(seed)
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                time.sleep(pause.uniform(0.5, 3.0))
                faults.inject()
            load.stop()
            _await_rest(client)
            findings = read(client, load.wanted)
            lost, duplicated = load.followers.compare()
            load.clear()
            leaked = _leaks(stack)
        finally:
            client.close()
            left = stack.stop()
    findings.lost += [f"request: {error!r}" for error in load.errors]
    findings.lost += [*load.wanted.wrong, *lost]
    findings.duplicated += duplicated
    return _report(seed, seconds, faults, load, findings, [*leaked, *left])


def _report(
    seed: int, seconds: float, faults: Faults, load: Load, findings: Findings, leaked: list[str]
) -> dict[str, Any]:
    return {
        "seed": seed,
        "seconds": seconds,
        "faults": dict(sorted(faults.injected.items())),
        "faults_injected": faults.injected.total(),
        "runs_submitted": len(load.wanted.runs),
        "runs_finished": findings.finished,
        "attempts": findings.attempts,
        "uploads": len(load.wanted.uploads),
        "predictions": load.wanted.predictions,
        "lost": findings.lost,
        "duplicated": findings.duplicated,
        "leaked": leaked,
    }


def _await_rest(client: Client) -> None:
    deadline = time.monotonic() + _REST_SECONDS
    while any(run["status"] not in _ENDS for run in client.every("/runs")):
        if time.monotonic() > deadline:
            return  # the history says which
        time.sleep(0.5)


def _leaks(stack: Stack) -> list[str]:
    """Folders of nodes, runners and half-written files that are still there."""
    deadline = time.monotonic() + 60
    while True:
        folders = [*(stack.data_dir / "nodes").glob("*"), *_half_written(stack)]
        found = [str(path) for path in folders]
        for part in ("runner", "replica"):
            found += [_shown(process) for process in processes(stack, part)]
        found += [
            f"{len(some)} times {part}"
            for part in PARTS
            if part in ("api", "worker", "broker") and len(some := processes(stack, part)) > 1
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _half_written(stack: Stack) -> list[Path]:
    """What writers that were killed have left is removed after an hour: only older ones leak."""
    limit = time.time() - 3600
    incoming = (stack.data_dir / "objects" / "incoming").glob("*")
    return [path for path in incoming if path.stat().st_mtime < limit]


def _shown(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return f"process {process.pid}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def main(
    *,
    minutes: Annotated[float, typer.Option(help="How long faults are injected.")] = 2.0,
    seed: Annotated[int, typer.Option(help="The same gives the same order of faults.")] = 1,
) -> None:
    """Run it; the exit status is 1 if anything was lost, duplicated or leaked."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        done = soak(Path(folder), seconds=minutes * 60, seed=seed)
    table = Table("", "COUNT", box=None)
    if not any(kind in done["faults"] for kind in ("network loss", "network modem")):
        table.add_row(f"none: {links.NO_LINKS}", "")
    for kind, count in done["faults"].items():
        table.add_row(f"fault: {kind}", str(count))
    for name in (
        "faults_injected",
        "runs_submitted",
        "runs_finished",
        "attempts",
        "uploads",
        "predictions",
    ):
        table.add_row(name.replace("_", " "), str(done[name]))
    bad = {name: done[name] for name in ("lost", "duplicated", "leaked")}
    for name, found in bad.items():
        table.add_row(name, str(len(found)))
    console = Console()
    console.print(table)
    for name, found in bad.items():
        for words in found[:_SHOWN]:
            console.print(f"{name}: {words}", markup=False)
    typer.echo(json.dumps({**done, **{name: len(found) for name, found in bad.items()}}))
    if any(bad.values()):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
