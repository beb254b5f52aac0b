"""Steps 5 to 9 and 13: source, run, its logs, its metrics and its outputs."""

import io
import tarfile
import uuid
from pathlib import Path

from examples.walk import show
from examples.walk.follow import TERMINAL, StateWatcher, log_lines, poll
from examples.walk.plan import Walk
from examples.walk.talk import require

_END_SECONDS = 60.0
_ORDER = ("Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed")


def upload_source(walk: Walk) -> None:
    """5a: the source folder as one archive."""
    archive = walk.folder / "source.tar.gz"
    archive.write_bytes(_packed(walk.job.source))
    name = _shown(walk.job.source)
    snapshot = walk.talk.upload(
        f"{walk.base}/snapshots",
        file=archive,
        shown_as="source.tar.gz",
        prepare=f"tar -czf source.tar.gz -C {name} .",
    )
    count = sum(1 for path in walk.job.source.rglob("*") if _is_source(path))
    require(
        snapshot["file_count"] == count,
        f"the snapshot has not the folder's {count} files: {snapshot}",
    )
    walk.snapshot_id = snapshot["id"]


def submit_run(walk: Walk) -> None:
    """5b: the run; its id comes back at once."""
    body = {
        "experiment_name": walk.experiment,
        "snapshot_id": walk.snapshot_id,
        "cluster_name": walk.cluster,
        **walk.job.launch,
        "environment": walk.job.environment,
        "tags": {"from": "the walk"},
    }
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = walk.talk.ask("POST", f"{walk.base}/runs", body=body, headers=headers, expect=(201,))
    walk.run = first.json()
    again = walk.talk.ask(
        "POST", f"{walk.base}/runs", body=body, headers=headers, expect=(201,), quiet=True
    )
    require(again.json()["id"] == walk.run["id"], "the same Idempotency-Key made a second run")


def follow_run(walk: Walk) -> None:
    """6, 7, 8: build log, why it waits, and what the script prints, as they come."""
    path = f"{walk.run_path}/logs"
    is_loud = not walk.talk.is_silent
    if is_loud:
        show.say(show.curl("GET", f"{path}?follow=true", options="N"))
    tell = (lambda line: show.say(f"  ● {line}")) if is_loud else (lambda line: None)
    with StateWatcher(walk.talk, walk.run_path, tell) as watcher:
        for line in log_lines(walk.talk, path, deadline_seconds=walk.job.seconds):
            walk.log.append(line)
            if is_loud:
                show.say(f"  │ {line}")
        walk.run = poll(
            walk.talk,
            walk.run_path,
            until=lambda run: run["status"] in TERMINAL,
            deadline_seconds=_END_SECONDS,
            words="the run ended",
        )
    walk.states = watcher.states
    walk.run = walk.talk.get(walk.run_path)
    require(walk.run["status"] == "Completed", f"the run did not complete: {walk.run}")
    places = [_ORDER.index(state) for state in walk.states if state in _ORDER]
    require(places == sorted(places), f"the run went back: {walk.states}")


def show_streams(walk: Walk) -> None:
    """8: the streams of the log, each sealed with its length and SHA-256."""
    streams = walk.talk.get(f"{walk.run_path}/logs/streams")["items"]
    require(all(stream["is_sealed"] for stream in streams), f"a log is not sealed: {streams}")
    files = [stream["name"] for stream in streams if stream["name"].startswith("logs/")]
    require(len(files) > 0, f"nothing of ./logs was kept: {streams}")


def show_metrics(walk: Walk) -> None:
    """13: what the script logged."""
    metrics = walk.talk.get(f"{walk.run_path}/metrics")["items"]
    require(len(metrics) > 0, "the run has no metrics")


def list_outputs(walk: Walk) -> None:
    """9: what the script left under ./outputs, listed by prefix, and one file downloaded."""
    files = walk.talk.get(f"{walk.run_path}/files?prefix=outputs/")["items"]
    require(len(files) > 0, "the run has no outputs")
    smallest = min(files, key=lambda file: int(file["size_bytes"]))
    content = walk.talk.ask("GET", f"{walk.run_path}/files/{smallest['path']}", quiet=True).content
    require(
        len(content) == smallest["size_bytes"], f"{smallest['path']} came back with another size"
    )


def list_runs(walk: Walk) -> None:
    """2, again: the experiment's runs, newest first."""
    runs = walk.talk.get(f"{walk.base}/runs?experiment_name={walk.experiment}&page_size=3")["items"]
    require(runs[0]["id"] == walk.run["id"], "the newest run is not listed first")


def _packed(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            if _is_source(path):
                archive.add(path, arcname=str(path.relative_to(folder)))
    return packed.getvalue()


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _shown(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
