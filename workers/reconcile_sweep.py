"""Moves a sweep on: sees how its trials are, ends some early, and submits the next ones."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import Table, func
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import charges
from app.costs.charges import Spending
from app.kernel.clock import database_now
from app.kernel.config import Settings
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.errors import DomainError
from app.runs import submission
from app.sweeps import repository, service
from app.sweeps.decide import Decision, View, decide
from app.sweeps.distributions import Values
from app.sweeps.money import Purse, cost_of_trial, purse_of
from app.sweeps.past import Past
from app.sweeps.proposing import learns, next_values
from app.sweeps.schemas import SweepCreate
from app.sweeps.space import NothingLeft
from app.sweeps.trial_run import run_of
from app.tables.sweep import Sweep, Trial
from app.tables.workspace import Workspace
from workers.reconciler import Guard
from workers.sweep_blockers import note_blockers, note_failing, note_refusal
from workers.sweep_trials import end_early, end_run, note

_LOOK_SECONDS = 1.0
_LATER_SECONDS = 5.0
_SHORTEST_SECONDS = 0.1


class _Plan(NamedTuple):
    """What was decided, and what the next trials are made of."""

    spec: SweepCreate
    seed: int
    numbers: Sequence[int]
    past: Sequence[Past]
    reserved: float
    pause_seconds: float


class SweepReconciler:
    """Each step looks at the rows of the trials and of their runs, and writes what comes of it."""

    table = cast("Table", Sweep.__table__)

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def reconcile(self, guard: Guard) -> float | None:
        """Note what the runs did, then submit trials as long as there is room."""
        while True:
            async with self._database.session() as session:
                await guard.check(session)
                sweep = await session.get_one(Sweep, guard.lease.row_id)
                if sweep.status in service.OVER:
                    return None
                plan = await self._look(session, sweep)
            if plan is None:
                return None
            if not plan.numbers:
                return plan.pause_seconds
            if not await self._propose(guard, plan):
                return _LATER_SECONDS

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the sweep say that looks at it fail."""
        async with self._database.session() as session:
            await guard.check(session)
            note_failing(await session.get_one(Sweep, guard.lease.row_id), error)

    async def _look(self, session: AsyncSession, sweep: Sweep) -> _Plan | None:
        """Bring the rows up to date; None: the sweep is over."""
        spec = service.spec_of(sweep)
        trials = {trial.number: trial for trial in await repository.all_trials(session, [sweep.id])}
        found = await repository.progress(session, sweep.id, spec.objective.primary_metric)
        run_ids = [one.run_id for one in found if one.run_id is not None]
        spending = await charges.of_runs(session, run_ids)
        await note(session, spec, trials, found, spending)
        await end_early(session, sweep, spec, trials, found)
        purse = await self._purse(session, sweep, spec, trials.values(), spending)
        decision = decide(await _view(session, sweep, trials.values(), purse), spec.limits)
        sweep.end_reason = decision.end_reason
        note_blockers(sweep, decision, purse)
        if decision.cancels:
            await _cancel(session, sweep, trials.values(), reason=_WORDS[decision.end_reason])
        if decision.final:
            _finish(sweep, decision)
            return None
        pause_seconds = _LOOK_SECONDS
        if purse is not None:
            stopped = purse.to_stop()
            beyond = [trial for trial in trials.values() if trial.run_id in stopped]
            await _cancel(session, sweep, beyond, reason=_WORDS["max_cost"])
            if not stopped:
                soon = max(_SHORTEST_SECONDS, purse.next_stop_seconds())
                pause_seconds = min(pause_seconds, soon)
        past: list[Past] = []
        if decision.proposes and learns(spec):
            earlier = await repository.all_trials(session, spec.warm_start_from)
            past = _past(earlier, is_earlier=True) + _past(list(trials.values()))
        first = len(trials)
        return _Plan(
            spec,
            sweep.seed,
            range(first, first + decision.proposes),
            past,
            reserved=0.0 if purse is None else purse.next_cost,
            pause_seconds=pause_seconds,
        )

    async def _purse(
        self,
        session: AsyncSession,
        sweep: Sweep,
        spec: SweepCreate,
        trials: Iterable[Trial],
        spending: Mapping[str, Spending],
    ) -> Purse | None:
        if spec.limits.max_cost is None:
            return None
        next_cost = await cost_of_trial(session, self._settings, sweep.workspace_id, spec.trial)
        return purse_of(spec.limits.max_cost, trials, spending, next_cost=next_cost)

    async def _propose(self, guard: Guard, plan: _Plan) -> bool:
        """Submit the next trials; False: not all of them now, but later."""
        try:
            proposals = await asyncio.to_thread(
                next_values, plan.spec, plan.past, seed=plan.seed, numbers=plan.numbers
            )
        except NothingLeft:
            proposals, reason = [], "nothing_left"
        else:
            reason = "grid_exhausted" if len(proposals) < len(plan.numbers) else ""
        reached(CrashPoint.TRIALS_PROPOSED)
        try:
            async with self._database.session() as session:
                await guard.check(session)
                sweep = await session.get_one(Sweep, guard.lease.row_id)
                if sweep.end_reason:
                    return True
                for number, values in zip(plan.numbers, proposals, strict=False):
                    refused = await self._submit(session, sweep, plan, number, values)
                    if refused is not None:
                        # Those before it stay.
                        return note_refusal(sweep, refused)
                sweep.blockers = []
                sweep.end_reason = reason
        except DomainError as error:
            if not error.retryable:
                raise
            return False
        return True

    async def _submit(
        self,
        session: AsyncSession,
        sweep: Sweep,
        plan: _Plan,
        number: int,
        values: Values,
    ) -> DomainError | None:
        """Write a trial and its run, or neither and say why."""
        workspace = await session.get_one(Workspace, sweep.workspace_id)
        try:
            async with session.begin_nested():
                body = run_of(
                    plan.spec,
                    values,
                    sweep_id=sweep.id,
                    number=number,
                    name=sweep.display_name or sweep.id,
                )
                run = await submission.submit(
                    session, self._settings, workspace=workspace, body=body, actor=sweep.created_by
                )
        except DomainError as error:
            return error
        session.add(
            Trial(
                sweep_id=sweep.id,
                number=number,
                run_id=run.id,
                parameters=dict(values),
                reserved=plan.reserved,
            )
        )
        await session.flush()
        reached(CrashPoint.TRIAL_UNCOMMITTED)
        return None


_WORDS = {
    "canceled": "the sweep was canceled",
    "max_cost": "the sweep has spent its max_cost",
    "max_duration": "the sweep took as long as it may",
    "max_failed_trials": "as many trials of the sweep failed as may",
    "trial_refused": "a further trial of the sweep was refused",
}


async def _view(session: AsyncSession, sweep: Sweep, trials: Any, purse: Purse | None) -> View:
    outcomes = [trial.outcome for trial in trials]
    now = await database_now(session)
    return View(
        end_reason=sweep.end_reason,
        has_error=sweep.error is not None,
        age_seconds=(now - sweep.created_at).total_seconds(),
        total=len(outcomes),
        active=outcomes.count(""),
        failed=outcomes.count("Failed"),
        is_spent=purse is not None and purse.is_spent,
        affordable=inf if purse is None else purse.affordable,
    )


async def _cancel(session: AsyncSession, sweep: Sweep, trials: Any, *, reason: str) -> None:
    for trial in trials:
        if trial.outcome == "":
            await end_run(session, trial, sweep, reason=reason)


def _finish(sweep: Sweep, decision: Decision) -> None:
    sweep.status = decision.final
    sweep.ended_at = func.clock_timestamp()


_LEARNT: Mapping[str, Literal["running", "completed", "failed"]] = {
    "": "running",
    "Completed": "completed",
    "Failed": "failed",
}


def _past(trials: Sequence[Trial], *, is_earlier: bool = False) -> list[Past]:
    """What the sampler learns from; what somebody canceled teaches nothing."""
    found = []
    for trial in trials:
        if trial.ended_interval is not None:
            found.append(Past(trial.parameters, "ended", trial.value, trial.intervals))
        elif trial.outcome in _LEARNT and not (is_earlier and trial.outcome == ""):
            value = trial.value if trial.outcome else None
            found.append(Past(trial.parameters, _LEARNT[trial.outcome], value, trial.intervals))
    return found
