"""What becomes of a capture whose node was started: a pure function of what was loaded."""

from dataclasses import dataclass
from typing import Any

MOST_STARTS = 3
RUN_SECONDS = 300.0
"""So long loading a model and asking it may take."""
WHOLE_SECONDS = 900.0
"""So long a node may take in all, the fetching of the model's files included."""
REPORT_PATH = "capture/report.json"


@dataclass(frozen=True)
class View:
    """What is known of the node.

    Attributes:
        start: counts the nodes, this one included.
        is_alive: whether it runs.
        seconds: since it was asked for.
        result: what it has reported.
    """

    start: int
    is_alive: bool
    seconds: float
    result: dict[str, Any]


@dataclass(frozen=True)
class Wait:
    """Nothing is known yet."""


@dataclass(frozen=True)
class Again:
    """The node is lost, which need not be the model's fault: take another one."""


@dataclass(frozen=True)
class Failed:
    """There is no sample; the error says why."""

    error: dict[str, Any]


@dataclass(frozen=True)
class Reported:
    """The program has come to its end and left a report.

    Attributes:
        sha256: of the report.
        size_bytes: of it.
        last_lines: of what the program printed.
    """

    sha256: str
    size_bytes: int
    last_lines: list[str]


Decision = Wait | Again | Failed | Reported


def decide(view: View) -> Decision:
    """Say what becomes of the capture.

    Args:
        view: what is known of its node.
    """
    result = view.result
    processes: list[dict[str, Any]] = result.get("processes", [])
    failed = result.get("failed")
    if failed is not None:
        return Failed(error(failed["code"], failed["message"]))
    if any(each.get("exit_code") != 0 for each in processes):
        return Failed(_ended(processes[0], str(result.get("reason") or "")))
    lines = [line for each in processes for line in each.get("last_lines") or []]
    if "report" in result:
        report = result["report"]
        return Reported(report["sha256"], report["size_bytes"], lines)
    if result.get("is_finished"):
        words = "The program that loads the model ended without a report."
        return Failed(error("report_missing", words, lines))
    if not view.is_alive:
        if view.start < MOST_STARTS:
            return Again()
        words = f"The node that loads the model went away {view.start} times."
        return Failed(error("node_lost", words, lines))
    if view.seconds > WHOLE_SECONDS:
        words = f"The model was not loaded and asked within {WHOLE_SECONDS:g} s."
        return Failed(error("capture_timeout", words, lines))
    return Wait()


def error(code: str, message: str, last_lines: list[str] | None = None) -> dict[str, Any]:
    """An error as it is stored."""
    return {"code": code, "message": message, "last_lines": last_lines or []}


def _ended(process: dict[str, Any], reason: str) -> dict[str, Any]:
    lines: list[str] = process.get("last_lines") or []
    if reason == "max_duration":
        words = f"Loading the model and asking it took longer than {RUN_SECONDS:g} s."
        return error("capture_timeout", words, lines)
    if process.get("oom"):
        words = "Loading the model took more memory than its resource_configuration has."
        return error("out_of_memory", words, lines)
    code, signal = process.get("exit_code"), process.get("signal")
    how = f"was ended by signal {signal}" if signal else f"exited with code {code}"
    return error("capture_exited", f"The process that loads the model {how}.", lines)
