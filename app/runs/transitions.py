"""The one writer of a run's state, and of its events."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.hints import Hint, add_hint, say_after_commit
from app.kernel.wake import signal
from app.runs.blockers import at_first
from app.runs.errors import RunNotFound, TransitionRefused
from app.runs.states import TERMINAL, TRACKED, TRACKED_TRANSITIONS, TRANSITIONS, Status
from app.runs.trace import log_names
from app.tables.run import Run, RunEvent

RUN_TOPIC = "run"
SWEEP_PROPERTY = "sweep_id"
"""A property of runs that are trials: their sweep."""
BATCH_SCORING_PROPERTY = "batch_scoring_id"
"""A property of runs that score a dataset: their batch scoring."""
_WATCHED = {SWEEP_PROPERTY: "sweeps", BATCH_SCORING_PROPERTY: "batch_scorings"}
"""Tables whose rows look at their runs, by the property that names the row."""


async def lock_run(session: AsyncSession, run_id: str) -> Run:
    """The run, locked until the transaction ends, as it is now.

    Raises:
        RunNotFound: it is gone.
    """
    statement = (
        select(Run)
        .where(Run.id == run_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    run = (await session.execute(statement)).scalar_one_or_none()
    if run is None:
        raise RunNotFound(run_id)
    return run


def add_event(
    session: AsyncSession,
    run: Run,
    *,
    kind: str,
    actor: str,
    reason: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    """Write an event of a locked run; numbers have no gaps because the row is locked."""
    session.add(_event(run, kind=kind, actor=actor, reason=reason, data=data))
    signal(session, RUN_TOPIC, run.id)


async def add_submitted(session: AsyncSession, run: Run, *, actor: str) -> None:
    """Write a new run that begins to start, with its first events.

    Args:
        session: the transaction.
        run: the run, which is not in the session yet.
        actor: who submits it.
    """
    submitted = _event(run, kind="submitted", actor=actor)
    run.status = Status.STARTING
    run.blockers = at_first(Status.STARTING)
    before = Status.NOT_STARTED
    change = {"from": before, "to": run.status}
    started = _event(run, kind="state_changed", actor=actor, data=change)
    # The run first, as events refer to it; and each table in one statement.
    session.add(run)
    await session.flush()
    session.add_all([submitted, started])
    await session.flush()
    signal(session, RUN_TOPIC, run.id)
    names = log_names(run)
    say_after_commit(session, "run_submitted", **names)
    say_after_commit(session, "run_changed", **names, status=run.status, before=before, actor=actor)


def _event(
    run: Run, *, kind: str, actor: str, reason: str = "", data: dict[str, Any] | None = None
) -> RunEvent:
    run.event_seq += 1
    return RunEvent(
        run_id=run.id,
        seq=run.event_seq,
        type=kind,
        status=run.status,
        actor=actor,
        reason=reason,
        data=data or {},
    )


def transition(
    session: AsyncSession,
    run: Run,
    to: Status,
    *,
    actor: str,
    reason: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    """Change the state of a locked run, with its event.

    Args:
        session: the transaction that holds the lock.
        run: from ``lock_run`` in the same transaction.
        to: the new state.
        actor: who did it.
        reason: why, for a person.
        data: further facts.

    Raises:
        TransitionRefused: the table does not allow it.
    """
    table = TRACKED_TRANSITIONS if run.kind == TRACKED else TRANSITIONS
    if to not in table.get(Status(run.status), frozenset()):
        raise TransitionRefused(f"A run that is {run.status} cannot become {to}.")
    before = run.status
    run.status = to
    if to == Status.QUEUED:
        run.queued_at = func.clock_timestamp()
    if to == Status.RUNNING and run.started_at is None:
        run.started_at = func.clock_timestamp()
    run.ended_at = None
    if to in TERMINAL:
        run.ended_at = func.clock_timestamp()
    # One that is only recorded here waits for nothing.
    run.blockers = [] if run.kind == TRACKED else at_first(to)
    for name, watcher in _WATCHED.items():
        if to in TERMINAL and name in run.properties:
            # A hint alone: the row looks by itself, and is locked before those of its runs.
            add_hint(session, Hint("reconcile", watcher, run.properties[name]))
    names = log_names(run)
    say_after_commit(session, "run_changed", **names, status=to, before=before, actor=actor)
    add_event(
        session,
        run,
        kind="state_changed",
        actor=actor,
        reason=reason,
        data={"from": before, "to": str(to), **(data or {})},
    )
