"""The trace of a run: one span a phase, made from what its rows say when it is over.

Whatever dies meanwhile, nothing of it is lost; and whoever tells it again tells the same spans.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from app.kernel.trace_context import TraceContext, parse
from app.kernel.tracing import Service, Span
from app.runs.states import TERMINAL, Status
from app.tables.image import Image
from app.tables.run import Attempt, Run, RunEvent, RunNode

_PHASES = {
    Status.STARTING: "hand to a worker",
    Status.PREPARING: "prepare",
    Status.QUEUED: "wait in the queue",
    Status.RUNNING: "run scripts",
    Status.FINALIZING: "finalize",
    Status.CANCEL_REQUESTED: "cancel",
    Status.NOT_RESPONDING: "not responding",
}
_START = "start nodes"


def context_of(run: Run) -> TraceContext | None:
    """The span of the submission; None: the run is of before there were traces."""
    return parse(run.traceparent) if run.traceparent else None


def log_names(run: Run) -> dict[str, str]:
    """What every line of the log about a run has."""
    context = context_of(run)
    return {"run_id": run.id, **({"trace_id": context.trace_id} if context else {})}


def attempt_traceparent(run: Run, attempt: int) -> str | None:
    """What the scripts of an attempt get as ``TRACEPARENT``: their spans are parts of it."""
    context = context_of(run)
    return context and context._replace(span_id=_attempt_id(run, attempt)).traceparent


def spans_of(
    run: Run,
    events: Sequence[RunEvent],
    attempts: Sequence[Attempt],
    nodes: Sequence[RunNode],
    image: Image | None,
) -> list[Span]:
    """All spans of a run that is over.

    Args:
        run: that has a trace.
        events: all of it, in order.
        attempts: all of it.
        nodes: of all of these.
        image: that its environment was built as, if it had one.
    """
    submission = context_of(run)
    assert submission is not None
    ended_at = run.ended_at or events[-1].created_at
    root = Span(
        name="run",
        span_id=_span_id(run, "run"),
        parent_id=submission.span_id,
        started_at=run.created_at,
        ended_at=ended_at,
        service="worker",
        attributes={
            "trainwright.run.id": run.id,
            "trainwright.run.status": run.status,
            "trainwright.run.attempts": run.attempt,
            "trainwright.run.nodes": run.node_count,
        },
        error=_words(run.error) if run.status == Status.FAILED else "",
    )
    phases = list(_phases(run, events))
    spans = [root, *phases, *_builds(run, phases, image)]
    for attempt in attempts:
        spans.append(_attempt(run, attempt, root.span_id, ended_at))
    ready = {event.actor: event.created_at for event in events if event.type == "node_ready"}
    began = {attempt.number: attempt.created_at for attempt in attempts}
    for node in nodes:
        spans += _of_node(run, node, began[node.attempt], ready.get(node.name))
    return spans


def _phases(run: Run, events: Sequence[RunEvent]) -> Iterator[Span]:
    open_phase: tuple[str, RunEvent, int] | None = None
    attempt = 0
    for event in events:
        if event.type not in ("state_changed", "attempt_started"):
            continue
        if open_phase is not None:
            name, since, of_attempt = open_phase
            yield Span(
                name=name,
                span_id=_span_id(run, f"event {since.seq}"),
                parent_id=_attempt_id(run, of_attempt) if of_attempt else _span_id(run, "run"),
                started_at=since.created_at,
                ended_at=event.created_at,
                service="runner" if name == _PHASES[Status.RUNNING] else "worker",
                attributes={"trainwright.run.id": run.id},
            )
        if event.type == "attempt_started":
            attempt = event.data["attempt"]
            open_phase = (_START, event, attempt)
            continue
        if event.status == Status.QUEUED:
            attempt = 0
        is_end = event.status in TERMINAL
        open_phase = None if is_end else (_PHASES[Status(event.status)], event, attempt)


def _builds(run: Run, phases: Sequence[Span], image: Image | None) -> Iterator[Span]:
    """The part of a build that the run has waited for; others may wait for the same one."""
    if image is None or image.build_started_at is None or image.build_ended_at is None:
        return
    for phase in phases:
        started_at = max(phase.started_at, image.build_started_at)
        ended_at = min(phase.ended_at, image.build_ended_at)
        if phase.name == _PHASES[Status.PREPARING] and started_at < ended_at:
            yield Span(
                name="build environment",
                span_id=_span_id(run, f"build in {phase.span_id}"),
                parent_id=phase.span_id,
                started_at=started_at,
                ended_at=ended_at,
                service="worker",
                attributes={"trainwright.image.id": image.id},
                error=_words(image.error),
            )


def _attempt(run: Run, attempt: Attempt, root_id: str, ended_at: datetime) -> Span:
    return Span(
        name=f"attempt {attempt.number}",
        span_id=_attempt_id(run, attempt.number),
        parent_id=root_id,
        started_at=attempt.created_at,
        ended_at=attempt.ended_at or ended_at,
        service="worker",
        attributes={
            "trainwright.run.id": run.id,
            "trainwright.attempt": attempt.number,
            "trainwright.attempt.outcome": attempt.outcome,
        },
        error=_words(attempt.error),
    )


def _of_node(
    run: Run, node: RunNode, assigned_at: datetime, ready_at: datetime | None
) -> Iterator[Span]:
    def span(name: str, service: Service, started_at: datetime, ended_at: datetime) -> Span:
        return Span(
            name=name,
            span_id=_span_id(run, f"{name} on {node.name}"),
            parent_id=_attempt_id(run, node.attempt),
            started_at=started_at,
            ended_at=ended_at,
            service=service,
            attributes={"trainwright.node": node.name, "trainwright.host": node.host},
        )

    launched_at = node.launched_at
    if ready_at is not None:
        # The runner may have been faster than whoever notes that it was started.
        launched_at = min(launched_at or ready_at, ready_at)
    if launched_at is not None:
        yield span("launch node", "worker", assigned_at, launched_at)
    if launched_at is not None and ready_at is not None:
        yield span("set up node", "runner", launched_at, ready_at)
    for process in (node.result or {}).get("processes", []):
        if process.get("started_at") and process.get("ended_at"):
            began, ended = (
                datetime.fromtimestamp(process[key], UTC) for key in ("started_at", "ended_at")
            )
            yield span(f"process {process.get('rank', 0)}", "runner", began, ended)


def _attempt_id(run: Run, attempt: int) -> str:
    return _span_id(run, f"attempt {attempt}")


def _span_id(run: Run, what: str) -> str:
    return hashlib.sha256(f"{run.id} {what}".encode()).hexdigest()[:16]


def _words(error: dict[str, Any] | None) -> str:
    return str(error.get("message", error.get("code", ""))) if error else ""
