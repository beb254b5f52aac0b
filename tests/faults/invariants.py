"""What must hold after every fault, read from the recorded history.

Nothing here asks the product for its opinion: the tables are read as SQL, the objects as files, the
nodes from the list of processes. Even the states of a run, and what may follow which, are written
down once more, so that a transition that is allowed by mistake is noticed.

I1 every run has ended, or something is going to look at it; I2 at most one node for each place of
an attempt, and one attempt that is current; I3 an ended run stays as it ended; I4 no transition
but those of the table, events numbered without gaps; I5 nothing is left of what has ended; I6 what
a completed run shows can be read and is what was recorded; I7 one key made one run.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

ENDS = {"Completed", "Failed", "Canceled"}
FOLLOWS = {
    "NotStarted": {"Starting"},
    "Starting": {"Preparing", "CancelRequested", "Failed"},
    "Preparing": {"Queued", "CancelRequested", "Failed"},
    "Queued": {"Running", "NotResponding", "CancelRequested", "Failed"},
    "Running": {"Finalizing", "NotResponding", "CancelRequested", "Failed"},
    "NotResponding": {"Running", "Queued", "Finalizing", "CancelRequested", "Failed"},
    "Finalizing": {"Completed", "Failed", "Canceled", "NotResponding"},
    "CancelRequested": {"Canceled"},
    "Completed": set(),
    "Failed": set(),
    "Canceled": set(),
}
_ALLOWED_LAG_SECONDS = 30.0


@dataclass(frozen=True)
class Installation:
    """Where an installation keeps its history.

    Attributes:
        database_url: of its PostgreSQL, as SQLAlchemy or libpq write it.
        objects: folder of the object store; None: objects are not looked at.
        answered: (Idempotency-Key, id of the run in the answer), as clients saw them.
    """

    database_url: str
    objects: Path | None = None
    answered: Sequence[tuple[str, str]] = field(default=())


def breaches(installation: Installation, *, is_over: bool = True) -> list[str]:
    """Every breach of an invariant, as a sentence that begins with its number.

    Args:
        installation: whose history.
        is_over: all work is expected to have ended, and its remains to be gone; else they may be
            on their way.
    """
    url = installation.database_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        history = _History(connection)
    found = [
        *_progress(history, is_over=is_over),
        *_single(history),
        *_transitions(history),
        *_keys(installation.answered, history),
    ]
    if installation.objects is not None:
        found += _files(history, installation.objects)
    if is_over:
        found += _leftovers(history)
    return found


class _History:
    """All rows about runs, as of one moment."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        def rows(statement: str) -> list[dict[str, Any]]:
            return connection.execute(statement).fetchall()

        self.runs = {
            row["id"]: row
            for row in rows(
                "SELECT id, status, event_seq, attempt, next_check_at, lease_token,"
                " extract(epoch FROM clock_timestamp() - next_check_at)::float AS overdue,"
                " extract(epoch FROM clock_timestamp() - lease_expires_at)::float AS expired"
                " FROM runs WHERE kind = 'job'"
            )
        }
        self.events = rows(
            "SELECT run_id, seq, type, status, data FROM run_events"
            " WHERE run_id IN (SELECT id FROM runs WHERE kind = 'job') ORDER BY run_id, seq"
        )
        self.attempts = rows("SELECT run_id, number, outcome, ended_at FROM attempts")
        self.nodes = rows("SELECT name, run_id, attempt, node_index, removed FROM run_nodes")
        self.places = rows("SELECT id, run_id FROM cluster_nodes WHERE run_id IS NOT NULL")
        self.files = rows("SELECT run_id, path, sha256, size_bytes FROM run_files")
        self.planning = rows(
            "SELECT next_check_at, lease_token,"
            " extract(epoch FROM clock_timestamp() - next_check_at)::float AS overdue,"
            " extract(epoch FROM clock_timestamp() - lease_expires_at)::float AS expired"
            " FROM planning WHERE id = 'all'"
        )


def _is_looked_after(row: dict[str, Any]) -> bool:
    if row["lease_token"] is not None:
        return bool(row["expired"] < _ALLOWED_LAG_SECONDS)
    return row["next_check_at"] is not None and bool(row["overdue"] < _ALLOWED_LAG_SECONDS)


def _progress(history: _History, *, is_over: bool) -> Iterable[str]:
    planner = any(_is_looked_after(row) for row in history.planning)
    for run in history.runs.values():
        if run["status"] in ENDS:
            continue
        if is_over:
            yield f"I1: run {run['id']} is {run['status']} and should have ended"
        # One that is queued waits for the planner, which has a row of its own.
        elif not _is_looked_after(run) and not (run["status"] == "Queued" and planner):
            yield f"I1: run {run['id']} is {run['status']} and nobody is going to look at it"


def _single(history: _History) -> Iterable[str]:
    places = Counter((n["run_id"], n["attempt"], n["node_index"]) for n in history.nodes)
    for place, count in places.items():
        if count > 1:
            yield f"I2: {count} nodes for {place}"
    runners = Counter(_names_of_runners())
    for name, count in runners.items():
        if count > 1:
            yield f"I2: {count} runners called {name}"
    numbers: dict[str, list[int]] = {}
    for attempt in history.attempts:
        numbers.setdefault(attempt["run_id"], []).append(attempt["number"])
        run = history.runs.get(attempt["run_id"])
        if run is None:
            continue
        is_open = attempt["ended_at"] is None
        if is_open and (run["status"] in ENDS or attempt["number"] != run["attempt"]):
            yield f"I2: attempt {attempt['number']} of {run['status']} run {run['id']} is open"
    for run_id, found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"I2: run {run_id} has the attempts {sorted(found)}"


def _transitions(history: _History) -> Iterable[str]:
    seen = dict.fromkeys(history.runs, 0)
    status = dict.fromkeys(history.runs, "NotStarted")
    for event in history.events:
        run_id = event["run_id"]
        seen[run_id] += 1
        if event["seq"] != seen[run_id]:
            yield f"I4: event {event['seq']} of run {run_id} follows {seen[run_id] - 1}"
            seen[run_id] = event["seq"]
        if event["type"] != "state_changed":
            continue
        before, after = event["data"]["from"], event["data"]["to"]
        if before != status[run_id]:
            yield f"I4: run {run_id} was {status[run_id]}, event {event['seq']} says {before}"
        if before in ENDS:
            yield f"I3: run {run_id} had ended as {before} and became {after}"
        elif after not in FOLLOWS[before]:
            yield f"I4: run {run_id} went from {before} to {after}"
        status[run_id] = after
    for run_id, run in history.runs.items():
        if run["status"] != status[run_id]:
            yield f"I4: run {run_id} is {run['status']}, its events say {status[run_id]}"
        if run["event_seq"] != seen[run_id]:
            yield f"I4: run {run_id} counted {run['event_seq']} events and has {seen[run_id]}"


def _leftovers(history: _History) -> Iterable[str]:
    ended = {run_id for run_id, run in history.runs.items() if run["status"] in ENDS}
    names = set()
    for node in history.nodes:
        if node["run_id"] in ended:
            names.add(node["name"])
            if not node["removed"]:
                yield f"I5: node {node['name']} of an ended run is not removed"
    for place in history.places:
        if place["run_id"] in ended:
            yield f"I5: cluster node {place['id']} is still held by ended run {place['run_id']}"
    for name in sorted(names & set(_names_of_processes())):
        yield f"I5: a process of {name} is alive"


def _files(history: _History, objects: Path) -> Iterable[str]:
    completed = {run_id for run_id, run in history.runs.items() if run["status"] == "Completed"}
    for file in history.files:
        if file["run_id"] not in completed:
            continue
        what = f"I6: {file['path']} of completed run {file['run_id']}"
        path = objects / "sha256" / file["sha256"][:2] / file["sha256"]
        if not path.is_file():
            yield f"{what} has no bytes"
            continue
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if (digest, path.stat().st_size) != (file["sha256"], file["size_bytes"]):
            yield f"{what} is not what was recorded"


def _keys(answered: Sequence[tuple[str, str]], history: _History) -> Iterable[str]:
    of_key: dict[str, set[str]] = {}
    for key, run_id in answered:
        of_key.setdefault(key, set()).add(run_id)
    for key, run_ids in of_key.items():
        if len(run_ids) > 1:
            yield f"I7: key {key} was answered with the runs {sorted(run_ids)}"
        for run_id in run_ids - history.runs.keys():
            yield f"I7: key {key} was answered with run {run_id}, which is not there"


def _names_of_runners() -> Iterable[str]:
    """Names of the nodes whose runners live, one for each runner."""
    runners = {}
    for process, name in _node_processes():
        try:
            if any(word.endswith("runner/main.py") for word in process.cmdline()):
                runners[process.pid] = (name, process.ppid())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    for name, parent in runners.values():
        # A child of a runner looks like it until it has become the script.
        if parent not in runners:
            yield name


def _names_of_processes() -> Iterable[str]:
    for _, name in _node_processes():
        yield name


def _node_processes() -> Iterable[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        try:
            name = process.environ().get("TRAINWRIGHT_NODE")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if name:
            yield process, name
