"""When a run's silence means that it hangs."""

from datetime import UTC, datetime
from typing import Any

from app.runs.silence import Heard, silence
from app.runtimes.distribution import parse
from app.runtimes.tasks import plan_tasks

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
TASKS = plan_tasks(parse({"type": "pytorch"}), node_count=2, process_count_per_node=2)


def heard(node_index: int, *processes: float | None, node: float | None = None) -> Heard:
    seconds = [each for each in processes if each is not None]
    quiet = {"processes": list(processes), "node": min(seconds) if node is None else node}
    return Heard(node_index, 1.0, quiet)


def found(*nodes: Heard, timeout_seconds: float = 60.0) -> dict[str, Any] | None:
    return silence(TASKS, nodes, timeout_seconds=timeout_seconds, now=NOW)


def test_all_are_named_the_one_that_fell_silent_first_before_the_others() -> None:
    error = found(heard(0, 70.0, 61.0), heard(1, 65.0, 99.0))
    assert error is not None
    assert (error["code"], error["rank"], error["node"]) == ("silent", 3, "node 1")
    assert [each["rank"] for each in error["silent"]] == [3, 0, 2, 1]
    assert error["silent"][0]["since"] == "2026-01-01T11:58:20+00:00"
    assert "60 s" in error["message"]
    assert "rank 3 (process, node 1)" in error["message"]


def test_one_that_speaks_speaks_for_all() -> None:
    assert found(heard(0, 1.0, 900.0), heard(1, 900.0, 900.0)) is None


def test_metrics_and_log_files_are_heard_too() -> None:
    assert found(heard(0, 900.0, 900.0), heard(1, 900.0, 900.0, node=2.0)) is None


def test_a_process_that_has_ended_is_not_silent() -> None:
    error = found(heard(0, None, 80.0), heard(1, 70.0, None))
    assert error is not None
    assert [each["rank"] for each in error["silent"]] == [1, 2]


def test_nobody_can_say_before_every_node_has() -> None:
    assert found(heard(0, 900.0, 900.0), Heard(1, 1.0, None)) is None
    assert found() is None
