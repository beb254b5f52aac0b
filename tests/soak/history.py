"""What the recorded history says of everything that was asked: finished, lost, doubled."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field

from tests.soak.load import LINES, WORKSPACE, Client, Wanted


@dataclass
class Findings:
    """Counts, and what they are made of.

    Attributes:
        finished: runs that ended as they should.
        lost: runs, lines, values, outputs and uploads that are not there.
        duplicated: runs made twice, attempts at once, lines and values that are there twice.
    """

    finished: int = 0
    attempts: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)


def read(client: Client, wanted: Wanted) -> Findings:
    """Compare the history of a stack at rest with what was asked of it."""
    found = Findings()
    made = Counter(run["display_name"] for run in client.every("/runs"))
    found.duplicated += [f"run {mark}" for mark, count in made.items() if count > 1]
    for mark, run_id in wanted.runs.items():
        if made[mark] == 0:
            found.lost.append(f"run {run_id}")
        else:
            _read_run(client, mark, run_id, run_id in wanted.canceled, found)
    missing = client.ask(
        "POST", f"{WORKSPACE}/blobs/missing", json={"sha256": sorted(wanted.uploads)}
    )
    found.lost += [f"upload {one}" for one in missing.raise_for_status().json()["missing"]]
    for digest in wanted.uploads:
        blob = client.ask("GET", f"{WORKSPACE}/blobs/{digest}")
        if hashlib.sha256(blob.content).hexdigest() != digest:
            found.lost.append(f"bytes of upload {digest}")
    return found


def _read_run(client: Client, mark: str, run_id: str, is_canceled: bool, found: Findings) -> None:
    run = client.get(f"/runs/{run_id}")
    attempts = client.get(f"/runs/{run_id}/attempts")["items"]
    found.attempts += len(attempts)
    if sum(attempt["ended_at"] is None for attempt in attempts):
        found.duplicated.append(f"attempt of {run_id} that is still open")
    numbers: list[int] = []
    while page := client.get(f"/runs/{run_id}/events?after={len(numbers)}")["items"]:
        numbers += [event["seq"] for event in page]
    if numbers != list(range(1, len(numbers) + 1)):
        found.lost.append(f"events of {run_id}")
    if run["status"] == "Canceled" and is_canceled:
        found.finished += 1
        return
    if run["status"] != "Completed":
        found.lost.append(f"{run_id} is {run['status']}: {json.dumps(run['error'])}")
        return
    found.finished += 1
    _compare(f"line of {run_id}", _lines(client, run_id), found)
    _compare(f"value of {run_id}", _values(client, run_id), found)
    output = client.ask("GET", f"{WORKSPACE}/runs/{run_id}/files/outputs/done.txt")
    if output.text != mark:
        found.lost.append(f"output of {run_id}")


def _lines(client: Client, run_id: str) -> list[int]:
    path = f"{WORKSPACE}/runs/{run_id}/logs?stream=user_logs/std_log.txt"
    words = [line.split() for line in client.ask("GET", path).text.splitlines()]
    return [int(word[1]) for word in words if word[:1] == ["line"]]


def _values(client: Client, run_id: str) -> list[int]:
    metrics = client.get(f"/runs/{run_id}/metrics")["items"]
    return [int(point["value"]) for metric in metrics for point in metric["points"]]


def _compare(what: str, numbers: list[int], found: Findings) -> None:
    count = Counter(numbers)
    found.lost += [f"{what}: {number}" for number in range(LINES) if not count[number]]
    found.duplicated += [f"{what}: {number}" for number, times in count.items() if times > 1]
