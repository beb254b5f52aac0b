"""Runs in words."""

from typing import Any

from trainwright.commands.output import age, between, print_facts
from trainwright.texts import clean

Run = dict[str, Any]


def phase(run: Run) -> list[str]:
    """What a run is doing, and what it waits for: one line for each reason."""
    words = run["status"]
    if run.get("queue_position"):
        words += f", number {run['queue_position']} in the queue"
    if (estimate := estimated(run)) and run.get("blockers"):
        words += f", {estimate}"
    return [words, *(f"  {blocker(found)}" for found in run.get("blockers") or [])]


def blocker(found: dict[str, Any]) -> str:
    """A reason why a run waits, and what clears it."""
    return f"{found['code']} ({found['object']}): {found['clears_when']}"


def estimated(run: Run) -> str:
    """When a waiting run is thought to start, where the server says so."""
    estimate = run.get("estimate") or {}
    after, before = estimate.get("starts_after"), estimate.get("starts_before")
    if after is None and before is None:
        return ""
    if before is None:
        return f"estimated to start after {after}"
    return f"estimated to start between {after} and {before}"


def outcome(run: Run) -> str:
    """How a run ended, in one line."""
    words = f"{run['id']} is {run['status']} after {between(run['created_at'], run['ended_at'])}"
    error = run.get("error")
    return f"{words}: {failure(error)}" if error else words


def failure(error: dict[str, Any]) -> str:
    """Why a run failed, in one line."""
    # Nodes are called so in the error itself: "node 0".
    where = [
        f"{name} {error[key]}".strip()
        for key, name in (
            ("role", "role"),
            ("rank", "rank"),
            ("node", ""),
            ("exit_code", "exit code"),
            ("signal", "signal"),
        )
        if error.get(key) is not None
    ]
    return str(error["message"]) + (f" ({', '.join(where)})" if where else "")


def print_run(run: Run) -> None:
    """A run as names and values."""
    request = run.get("request") or {}
    print_facts(
        [
            ("id", run["id"]),
            ("status", run["status"]),
            ("experiment", run["experiment_name"]),
            ("name", run["display_name"]),
            ("cluster", run["cluster_name"]),
            ("nodes", run["node_count"]),
            ("program", request.get("entry_script") or request.get("command")),
            ("queue", run["queue_position"]),
            ("waits for", "; ".join(blocker(found) for found in run["blockers"])),
            ("error", failure(run["error"]) if run["error"] else ""),
            ("attempt", f"{run['attempt']} of {run['max_attempts']}"),
            (
                "created",
                f"{run['created_at']} ({age(run['created_at'])} ago) by {run['created_by']}",
            ),
            ("took", between(run["started_at"], run["ended_at"])),
            ("tags", ", ".join(_tag(name, value) for name, value in run["tags"].items())),
            (
                "data",
                ", ".join(f"{i['dataset']}:{i['version']}" for i in run["input_datasets"]),
            ),
            ("snapshot", run["snapshot_id"]),
            ("image", run["image_hash"]),
        ]
    )


def log_prefix(record: dict[str, Any]) -> str:
    """Which process of several wrote a line; '' for the only one and for the build."""
    name = str(record["stream"]).rpartition("/")[2].removesuffix(".txt")
    process = name.removeprefix("std_log_")
    return f"{clean(process)} | " if process != name else ""


def _tag(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={value}"
