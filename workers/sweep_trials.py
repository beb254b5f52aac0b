"""What a look at the trials of a sweep writes: how far they are, and which end early."""

import asyncio
from collections.abc import Mapping, Sequence
from math import inf

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs.charges import ALL_DIGITS, CENT_DIGITS, Spending
from app.runs import service as runs
from app.runs.errors import RunFinished, RunNotFound
from app.runs.states import TERMINAL
from app.runs.transitions import lock_run
from app.sweeps import repository
from app.sweeps.judging import History, judged_in_order
from app.sweeps.policies import intervals
from app.sweeps.repository import Progress
from app.sweeps.schemas import SweepCreate
from app.tables.sweep import Sweep, Trial


async def note(
    session: AsyncSession,
    spec: SweepCreate,
    trials: dict[int, Trial],
    found: Sequence[Progress],
    spending: Mapping[str, Spending],
) -> None:
    """Write down what the runs logged, cost and came to."""
    over = [one for one in found if _is_over(one)]
    attempts = [(one.run_id, one.attempt) for one in over if one.run_id is not None]
    logged = await repository.logged(
        session, attempts, spec.objective.primary_metric, most=spec.limits.most_intervals
    )
    for one in found:
        trial = trials[one.number]
        trial.value = one.highest if spec.objective.goal == "maximize" else one.lowest
        trial.intervals = one.intervals
        known = spending.get(one.run_id or "")
        cost = trial.cost if known is None else known.cost
        # To the hundredth while it goes on: else every look would write every trial.
        trial.cost = round(cost, ALL_DIGITS if _is_over(one) else CENT_DIGITS)
    for one in over:
        trial = trials[one.number]
        is_gone = one.run_id is None or one.is_deleted or one.status not in TERMINAL
        trial.outcome = "Canceled" if is_gone else one.status
        trial.ended_at = one.ended_at or func.clock_timestamp()
        values = logged.get(one.run_id or "", [])
        trial.reported = [value for value, _ in values]
        trial.reported_at = [at.timestamp() for _, at in values]
    await session.flush()


def _is_over(one: Progress) -> bool:
    return one.run_id is None or one.is_deleted or one.status in TERMINAL


async def end_early(
    session: AsyncSession,
    sweep: Sweep,
    spec: SweepCreate,
    trials: dict[int, Trial],
    found: Sequence[Progress],
) -> None:
    """Ask the policy about every interval that a trial has reached since the last look."""
    policy = spec.early_termination
    if policy is None:
        return
    most = spec.limits.most_intervals
    going = [one for one in found if not _is_over(one)]
    for one in going:
        trial = trials[one.number]
        if trial.judged_attempt != one.attempt:
            # Its script begins anew.
            trial.judged_attempt, trial.judged_interval = one.attempt, 0
    if not any(
        any(intervals(policy, after=trial.judged_interval, up_to=min(one.intervals, most)))
        for one in going
        if (trial := trials[one.number]).ended_interval is None
    ):
        return
    histories = await _histories(session, sweep, spec, going)
    open_numbers = {one.number for one in going}
    comparisons = await asyncio.to_thread(
        judged_in_order,
        policy,
        spec.objective.goal,
        histories,
        judged_before={
            history.trial: trials[history.trial].judged_interval
            if history.trial in open_numbers
            else len(history.values)
            for history in histories
        },
        ended_before={
            number: trial.ended_interval
            for number, trial in trials.items()
            if trial.ended_interval is not None
        },
    )
    for history in histories:
        trial = trials[history.trial]
        if history.trial not in open_numbers:
            continue
        trial.judged_interval = max(trial.judged_interval, len(history.values))
        comparison = comparisons.get(history.trial)
        if comparison is not None:
            reason = f"{comparison.policy} of {sweep.id} at interval {comparison.interval}"
            if await end_run(session, trial, sweep, reason=reason):
                trial.ended_interval = comparison.interval
                trial.termination = comparison.model_dump(mode="json")
    await session.flush()


async def _histories(
    session: AsyncSession, sweep: Sweep, spec: SweepCreate, going: Sequence[Progress]
) -> list[History]:
    """What all trials have logged, by number."""
    found = [
        repository.history(one)
        for one in await repository.reported(session, sweep.id)
        if one.values
    ]
    attempts = [(one.run_id, one.attempt) for one in going if one.run_id is not None]
    most = spec.limits.most_intervals
    logged = await repository.logged(session, attempts, spec.objective.primary_metric, most=most)
    for one in going:
        values = logged[one.run_id or ""]
        if values:
            times = [at.timestamp() for _, at in values]
            found.append(History(one.number, [value for value, _ in values], times, inf))
    return sorted(found)


async def end_run(session: AsyncSession, trial: Trial, sweep: Sweep, *, reason: str) -> bool:
    """Cancel the run of a trial; False: it has come to its end by itself meanwhile."""
    if trial.run_id is None:
        return False
    try:
        run = await lock_run(session, trial.run_id)
        await runs.cancel(session, run, actor=f"sweep {sweep.id}", reason=reason)
    except (RunFinished, RunNotFound):
        return False
    return True
