"""Runs that have to give up their nodes: preempted, evicted, or stopped because money is spent."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs.budget import BUDGET_SPENT, MAX_COST_SPENT
from app.kernel.wake import wake
from app.runs import attempts
from app.runs.states import Status
from app.runs.transitions import add_event, lock_run, transition
from app.tables.run import Run, RunEvent

_PREEMPTIBLE = frozenset({Status.QUEUED, Status.RUNNING, Status.NOT_RESPONDING})
_GIVES_WAY = ("preempted", "evicted")
_SPENT = {
    BUDGET_SPENT: "The budget of the workspace is spent; the run was stopped.",
    MAX_COST_SPENT: "The run has cost its max_cost and was stopped.",
}


async def seconds_since_told_to_give_way(session: AsyncSession, run: Run) -> float:
    """Seconds since the current attempt was told to give up its nodes, by database time."""
    age = func.extract("epoch", func.clock_timestamp() - func.max(RunEvent.created_at))
    statement = select(age).where(RunEvent.run_id == run.id, RunEvent.type.in_(_GIVES_WAY))
    return float((await session.execute(statement)).scalar_one_or_none() or 0.0)


async def preempt(session: AsyncSession, *, run_id: str, for_run_id: str) -> None:
    """Have a run give up its nodes for another, and wait for others; the attempt does not count.

    Nothing happens when it is not running any more, or being stopped already.
    """
    because = f"Its nodes were needed by run {for_run_id}, which low-priority work gives way to."
    await _give_way(session, run_id, kind="preempted", because=because, for_run_id=for_run_id)


async def evict(session: AsyncSession, *, run_id: str, host: str, because: str) -> None:
    """Have a run leave a host, as `preempt` does.

    Args:
        session: the transaction.
        run_id: the run.
        host: that it has to leave.
        because: why, as a sentence.
    """
    await _give_way(session, run_id, kind="evicted", because=because, host=host)


async def _give_way(
    session: AsyncSession, run_id: str, *, kind: str, because: str, **facts: str
) -> None:
    if await _is_changing(session, run_id):
        return  # it may be about to give its nodes back: the next plan sees
    run = await lock_run(session, run_id)
    attempt = await attempts.current(session, run)
    if run.status not in _PREEMPTIBLE or attempt is None or attempt.gives_way_because is not None:
        return
    attempt.gives_way_because = because
    run.max_attempts += 1
    add_event(
        session, run, kind=kind, actor="scheduler", reason=because,
        data={"attempt": run.attempt, **facts},
    )  # fmt: skip
    await session.flush()
    await wake(session, Run, run.id)


async def stop_spending(session: AsyncSession, *, run_id: str, code: str) -> None:
    """Have a run end because money is spent: its processes are told, and have their grace.

    Nothing happens when it changes just now, or is ending already.

    Args:
        session: the transaction, which holds the planner's row.
        run_id: the run.
        code: why, from `app.costs.budget`; the run's error has it.
    """
    if await _is_changing(session, run_id):
        return
    run = await lock_run(session, run_id)
    if run.status not in _PREEMPTIBLE:
        return
    message = _SPENT[code]
    run.error = {"code": code, "message": message}
    transition(session, run, Status.CANCEL_REQUESTED, actor="scheduler", reason=message)
    await session.flush()
    await wake(session, Run, run.id)


async def _is_changing(session: AsyncSession, run_id: str) -> bool:
    # Whoever changes it may wait for the planner's row: waiting for them would be for ever.
    free = select(Run.id).where(Run.id == run_id).with_for_update(key_share=True, skip_locked=True)
    return (await session.execute(free)).first() is None
